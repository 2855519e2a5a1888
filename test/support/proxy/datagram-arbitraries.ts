/** Targets and data of datagrams, for properties. */
import fc from 'fast-check';
import type { Target } from '../../../src/tunnel/stream/stream.ts';

const port = fc.nat(65_535);
const ipOf = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });

export const ipTargets: fc.Arbitrary<Target> = fc
  .tuple(fc.oneof(ipOf(4), ipOf(16)), port)
  .map(([ip, at]) => ({ kind: 'ip', ip, port: at }));

/** @param maxLength of a name, bytes */
export function targets(maxLength = 255): fc.Arbitrary<Target> {
  const names = fc.stringMatching(/^[a-z0-9][a-z0-9_-]{0,60}(\.[a-z0-9_][a-z0-9_-]{0,60}){0,3}$/);
  const named = fc
    .tuple(names, port)
    .filter(([name]) => name.length <= maxLength)
    .map(([name, at]): Target => ({ kind: 'name', name, port: at }));
  return fc.oneof(ipTargets, named);
}

export const data = fc.oneof(fc.uint8Array({ maxLength: 64 }), fc.uint8Array({ minLength: 1_300, maxLength: 1_400 }));
