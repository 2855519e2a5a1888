/** Drives a pure SOCKS negotiation with pieces of bytes, and sums up what it did. */
import type { FaultName } from '../../../src/errors.ts';
import type { SocksCommand, SocksNegotiation } from '../../../src/proxy/socks-negotiation.ts';
import type { Target } from '../../../src/tunnel/stream/stream.ts';

export interface SocksRun {
  /** All replies, hex. */
  readonly replies: string;
  readonly end: 'more' | 'request' | 'refused';
  readonly command?: SocksCommand;
  readonly target?: Target;
  readonly fault?: FaultName;
  /** What is behind the request, with the pieces that were never received; latin1. */
  readonly rest?: string;
}

export function run(negotiation: SocksNegotiation, pieces: readonly Uint8Array[]): SocksRun {
  const replies: Uint8Array[] = [];
  for (const [index, piece] of pieces.entries()) {
    const step = negotiation.receive(piece);
    replies.push(step.reply);
    const hex = Buffer.concat(replies).toString('hex');
    if (step.kind === 'refused') return { replies: hex, end: 'refused', fault: step.fault };
    if (step.kind === 'request') {
      const rest = Buffer.concat([step.rest, ...pieces.slice(index + 1)]).toString('latin1');
      return { replies: hex, end: 'request', command: step.command, target: step.target, rest };
    }
  }
  return { replies: Buffer.concat(replies).toString('hex'), end: 'more' };
}

/** Whole, byte by byte, and in two at every place. */
export function cuts(bytes: readonly number[]): Uint8Array[][] {
  const whole = Uint8Array.from(bytes);
  const inTwo = bytes.map((_, i) => [whole.subarray(0, i), whole.subarray(i)]);
  return [[whole], bytes.map((byte) => Uint8Array.of(byte)), ...inTwo];
}
