/** The parts of a forward as ssh writes it: [BIND:]PORT:HOST:PORT, with IPv6 addresses in brackets. Pure. */
import type { HostPort } from './host-port.ts';
import { parseIpv6 } from './ip.ts';

/** Without a word about it only the machine itself can connect, as with ssh. */
const DEFAULT_BIND = '127.0.0.1';

/** An address in brackets, or what has neither a bracket nor a colon; with the colon that follows. */
const PART = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]\s]*))(?::|$)/;

/** Undefined: it is malformed. */
export function splitForward(body: string): string[] | undefined {
  const parts: string[] = [];
  let rest = body;
  do {
    const match = PART.exec(rest);
    const [whole, address, word] = match ?? [];
    if (whole === undefined || (address !== undefined && parseIpv6(address) === undefined)) return undefined;
    parts.push(address ?? word ?? '');
    rest = rest.slice(whole.length);
    if (rest === '' && whole.endsWith(':')) return undefined;
  } while (rest !== '');
  return parts;
}

/** As with ssh: nothing before the colon, or `*`, is every address. */
export function listenPlace(bind: string | undefined, portText: string): HostPort | undefined {
  const port = portOf(portText);
  if (port === undefined) return undefined;
  return { host: bind === '' || bind === '*' ? '0.0.0.0' : (bind ?? DEFAULT_BIND), port };
}

/** 0 to 65535. */
export function portOf(text: string): number | undefined {
  return /^\d{1,5}$/.test(text) && Number(text) <= 65_535 ? Number(text) : undefined;
}
