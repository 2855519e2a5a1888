/**
 * A twin of the frame decoder, written from docs/protocol.md §4 alone and as plainly as can be: the whole input at
 * once, text for types, no state but a position. It defines what FrameDecoder must answer.
 */
import type { OpenRequest, Service } from '../../../src/protocol/services.ts';
import type { Target } from '../../../src/protocol/target.ts';
import type { Decoded, LoggedFrame } from './frame-log.ts';

interface Rule {
  readonly name: string;
  readonly lengths: (length: number) => boolean;
  /** Undefined: with or without. */
  readonly needsStream: boolean | undefined;
}

const exactly = (n: number) => (length: number) => length === n;

const RULES: Readonly<Record<string, Rule>> = {
  '00': { name: 'hello', lengths: (n) => n >= 8 && n <= 1024, needsStream: false },
  '01': { name: 'open', lengths: (n) => n >= 9 && n <= 263, needsStream: true },
  '02': { name: 'opened', lengths: (n) => n === 4 || n === 11 || n === 23, needsStream: true },
  '03': { name: 'open-failed', lengths: exactly(2), needsStream: true },
  '04': { name: 'data', lengths: (n) => n <= 65511, needsStream: true },
  '05': { name: 'credit', lengths: exactly(4), needsStream: true },
  '06': { name: 'finish', lengths: exactly(0), needsStream: true },
  '07': { name: 'reset', lengths: exactly(2), needsStream: true },
  '08': { name: 'ping', lengths: exactly(8), needsStream: false },
  '09': { name: 'pong', lengths: exactly(8), needsStream: false },
  '0a': { name: 'go-away', lengths: exactly(6), needsStream: false },
  '83': { name: 'relays', lengths: () => true, needsStream: undefined },
  '81': { name: 'links', lengths: exactly(5), needsStream: false },
};

const SERVICES: readonly (Service | undefined)[] = [
  undefined,
  'tcp',
  'udp',
  'resolver',
  'tcp-listener',
  'udp-listener',
  'accepted',
];

function targetOf(kind: number, port: number, host: Uint8Array): Target | undefined {
  const kinds = `${kind} ${host.length}`;
  if (kinds === '1 4' || kinds === '4 16') return { kind: 'ip', ip: Uint8Array.from(host), port };
  if (kind !== 3 || host.length === 0) return undefined;
  return { kind: 'name', name: String.fromCharCode(...host), port };
}

function ruleFor(type: string, length: number): Rule | undefined {
  return type === '83' && length > 8466 ? undefined : RULES[type];
}

/** What RELAYS says; nothing where it is written otherwise. */
function relays(payload: Uint8Array): string[] {
  let rest = Buffer.from(payload).toString('latin1');
  const take = (count: number): string => {
    const taken = rest.slice(0, count);
    rest = rest.slice(count);
    return taken;
  };
  const number = (bytes: number): number => Number.parseInt(Buffer.from(take(bytes), 'latin1').toString('hex'), 16);
  const urls = Array.from({ length: number(1) || 0 }, () => {
    const length = number(2);
    return { length, text: take(length) };
  });
  const pins = Array.from({ length: Math.min(number(1) || 0, 9) }, () =>
    Buffer.from(take(32), 'latin1').toString('hex'),
  );
  const texts = urls.map(({ text }) => text);
  const isGood =
    urls.every(({ length, text }) => length === text.length && length <= 1024 && /^[\x21-\x7e]+$/.test(text)) &&
    urls.length >= 1 &&
    urls.length <= 8 &&
    pins.length <= 8 &&
    pins.every((pin) => pin.length === 64) &&
    new Set(texts).size === texts.length;
  // Exactly what was read, and nothing after it.
  const expected = 1 + urls.reduce((sum, { length }) => sum + 2 + length, 0) + 1 + 32 * pins.length;
  return isGood && expected === payload.length ? [...texts, ...pins] : [];
}

export function naiveDecode(input: Uint8Array): Decoded {
  const hex = Buffer.from(input).toString('hex');
  const number = (from: number, bytes: number) => Number.parseInt(hex.slice(2 * from, 2 * (from + bytes)), 16);
  const frames: LoggedFrame[] = [];
  const bad: Decoded = { frames, fault: 'bad-frame' };
  for (let at = 0, first = true; at + 8 <= input.length; first = false) {
    const type = hex.slice(2 * at, 2 * at + 2);
    const [length, stream] = [number(at + 1, 3), number(at + 4, 4)];
    if (stream >= 2 ** 31) return bad;
    if (first !== (type === '00')) return bad;
    const body = at + 8;
    const rule = ruleFor(type, length);
    if (rule) {
      if (!rule.lengths(length) || (rule.needsStream ?? stream > 0) !== stream > 0) return bad;
      if (type === '04') {
        frames.push(['data', stream, length]);
        const payload = hex.slice(2 * body, 2 * (body + length));
        if (payload !== '') frames.push(['payload', payload]);
      } else if (body + length <= input.length) frames.push(smallFrame(rule.name, stream, body, length));
      else break;
    } else {
      if (Number.parseInt(type, 16) < 0x80 || length > 65511) return bad;
      frames.push(['ignorable']);
    }
    at = body + length;
  }
  return { frames, fault: undefined };

  function smallFrame(name: string, stream: number, body: number, length: number): LoggedFrame {
    switch (name) {
      case 'hello':
        return [name, number(body, 2), number(body + 4, 4), number(body + 2, 2)];
      case 'open':
        return [name, stream, number(body, 4), request(body, length)];
      case 'opened':
        return length === 4
          ? [name, stream, number(body, 4)]
          : [name, stream, number(body, 4), ...bound(body + 4, body + length)];
      case 'credit':
        return [name, stream, number(body, 4)];
      case 'open-failed':
      case 'reset':
        return [name, stream, number(body, 2)];
      case 'finish':
        return [name, stream];
      case 'links':
        return [name, number(body, 1), number(body + 1, 4)];
      case 'go-away':
        return [name, number(body, 2), number(body + 2, 4)];
      case 'relays':
        return [name, ...(stream === 0 ? relays(input.slice(body, body + length)) : [])];
      default:
        return [name, hex.slice(2 * body, 2 * (body + length))];
    }
  }

  function request(body: number, length: number): OpenRequest | undefined {
    const service = SERVICES[number(body + 4, 1)];
    const before = service === 'accepted' ? 4 : 0;
    if (service === undefined || length < 8 + before) return undefined;
    const found = targetOf(number(body + 5, 1), number(body + 6, 2), input.slice(body + 8 + before, body + length));
    if (found === undefined) return undefined;
    return before === 0 ? { service, target: found } : { service, target: found, listener: number(body + 8, 4) };
  }

  function bound(from: number, to: number): [Target] | [] {
    const found = targetOf(number(from, 1), number(from + 1, 2), input.slice(from + 3, to));
    return found === undefined ? [] : [found];
  }
}
