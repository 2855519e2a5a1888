/** `wstun explain`: what an error means, from the table of src/errors.ts. */
import { EXIT_CODE, FAULTS, type Fault, type FaultClass, WstunError } from '../errors.ts';
import { EXPLANATIONS } from './explanations.ts';
import { nearest } from './nearest.ts';
import { wrap } from './wrap.ts';

type Named = readonly [name: keyof typeof FAULTS, fault: Fault];

const ALL = Object.entries(FAULTS) as readonly Named[];
const COLUMNS = 80;

/** In the words of docs/errors.md. */
const CLASSES: Readonly<Record<FaultClass, string>> = {
  usage: 'an option or an argument is wrong',
  config: 'a file or the state directory is wrong',
  access: 'the invite was revoked',
  network: 'the other end cannot be reached at the moment',
  protocol: 'the two ends do not understand each other',
  dial: 'the target cannot be reached',
  proxy: "a program's request to the local proxy failed",
  internal: 'a defect in wstun',
};

/** @throws WstunError code-unknown, and bad-option without a code */
export function explain(asked: string | undefined, { list = false }: { readonly list?: boolean }): void {
  if (list) process.stdout.write(listing());
  else if (asked === undefined)
    throw new WstunError('bad-option', 'no code was given', { fix: 'See all: wstun explain --list.' });
  else process.stdout.write(explanation(find(asked)));
}

function listing(): string {
  const rows = [...ALL].sort(([, a], [, b]) => a.code.localeCompare(b.code));
  const width = Math.max(...rows.map(([name]) => name.length));
  return rows.map(([name, { code, sentence }]) => `${code}  ${name.padEnd(width)}  ${sentence}\n`).join('');
}

/** By code in any spelling, or by name. */
function find(asked: string): Named {
  const [, digits] = /^\(?(?:wstun[-_ ]?)?e?(\d{3})\)?$/i.exec(asked.trim()) ?? [];
  const found = ALL.find(([name, { code }]) => name === asked.toLowerCase() || code === `WSTUN-E${digits}`);
  if (found === undefined) throw unknown(asked, digits);
  return found;
}

function unknown(asked: string, digits: string | undefined): WstunError {
  const near =
    digits === undefined
      ? nearest(
          asked,
          ALL.map(([name]) => name),
        )
      : nearestCode(Number(digits));
  const fix =
    near === undefined ? undefined : `The nearest is: wstun explain ${near}. All of them: wstun explain --list.`;
  return new WstunError('code-unknown', asked.slice(0, 40), { ...(fix !== undefined && { fix }) });
}

function nearestCode(number: number): string {
  const codes = ALL.map(([, { code }]) => Number(code.slice(-3)));
  const best = codes.reduce((near, code) => (Math.abs(code - number) < Math.abs(near - number) ? code : near));
  return `E${best}`;
}

function explanation([name, { code, sentence, fix, class: group }]: Named): string {
  const more = EXPLANATIONS[name];
  const blocks = [
    `${code} (${name})`,
    `What happened\n${wrap(`${capital(sentence)}.`, COLUMNS, '  ')}`,
    ...(fix === '' ? [] : [`What to do\n${wrap(fix, COLUMNS, '  ')}`]),
    ...(more === undefined ? [] : [`More\n${wrap(more.replaceAll('\n', ' '), COLUMNS, '  ')}`]),
    wrap(`Exit code ${EXIT_CODE[group]}: ${CLASSES[group]}. All errors: docs/errors.md.`, COLUMNS),
  ];
  return `${blocks.join('\n\n')}\n`;
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
