/** TOML of the state directory, with faults that name the line. Pure. */
import { parse, TomlError } from 'smol-toml';
import type { WstunError } from '../errors.ts';

/** @throws what `faultOf` makes of "line 3: …" */
export function parseToml(text: string, faultOf: (detail: string) => WstunError): Record<string, unknown> {
  try {
    return parse(text);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    throw faultOf(`line ${error.line}: ${error.message.replace(/^Invalid TOML document: /, '').split('\n')[0]}`);
  }
}
