/** Header fields that a user wants in the requests to a relay (RFC 9110 §5). No error holds the value of one. Pure. */
import { WstunError } from '../errors.ts';

export interface FieldOptions {
  readonly hostHeader?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly userAgent?: string;
}

const MAX_FIELDS = 32;
/** Of all of them: a relay accepts 16 KiB of header, and many web servers 8. */
const MAX_BYTES = 8 * 1024;

/** RFC 9110 §5.6.2. */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
/** RFC 9110 §5.5, without the ends. */
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;
const HOST = /^(?:[A-Za-z0-9._~-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::\d{1,5})?$/;

/** What the handshake, the body or the connection needs; `Origin` says that a web page asks, which a relay rejects. */
const OURS =
  /^(?:connection|upgrade|sec-websocket-.*|content-(?:length|encoding)|transfer-encoding|te|trailer|expect|keep-alive|proxy-.*|http2-settings|origin|range|if-.*)$/;

/** @throws WstunError bad-option */
export function requestFieldsOf({ hostHeader, headers = {}, userAgent }: FieldOptions): Record<string, string> {
  const given = Object.entries(headers);
  const names = given.map(([name]) => name.toLowerCase());
  if (given.length > MAX_FIELDS) throw new WstunError('bad-option', `--header may be given ${MAX_FIELDS} times`);
  for (const [name, value] of given) requireField(name, value);
  const twice = names.find((name, at) => names.indexOf(name) !== at);
  if (twice !== undefined) throw new WstunError('bad-option', `--header ${twice} is given twice`);
  if (userAgent !== undefined && names.includes('user-agent'))
    throw new WstunError('bad-option', '--user-agent and --header User-Agent are the same: give one of them');
  if (userAgent !== undefined && !VALUE.test(userAgent)) throw badValue('--user-agent');
  if (hostHeader !== undefined && !HOST.test(hostHeader))
    throw new WstunError('bad-option', '--host needs a host, and a port if it is not the usual one');
  const all = {
    ...(hostHeader !== undefined && { Host: hostHeader }),
    ...(userAgent !== undefined && { 'User-Agent': userAgent }),
    ...Object.fromEntries(given.map(([name, value]) => [name, value.trim()])),
  };
  const bytes = Object.entries(all).reduce((sum, [name, value]) => sum + name.length + value.length + 4, 0);
  if (bytes > MAX_BYTES)
    throw new WstunError('bad-option', `--header: all fields together have more than ${MAX_BYTES} bytes`);
  return all;
}

function requireField(name: string, value: string): void {
  if (!TOKEN.test(name))
    throw new WstunError('bad-option', "--header needs 'Name: value', with a name as RFC 9110 has it");
  const lower = name.toLowerCase();
  if (lower === 'host') throw new WstunError('bad-option', '--header Host: use --host');
  if (OURS.test(lower))
    throw new WstunError('bad-option', `--header ${name}: wstun sets this field, or must not send it`);
  if (!VALUE.test(value)) throw badValue(`--header ${name}`);
}

function badValue(option: string): WstunError {
  return new WstunError('bad-option', `${option}: its value has control characters, or characters beyond Latin-1`);
}
