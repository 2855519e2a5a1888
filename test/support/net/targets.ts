/** Targets that are addresses, read by another implementation than the product's. */
import ipaddr from 'ipaddr.js';
import type { Target } from '../../../src/protocol/target.ts';

export function ipTarget(text: string, port: number): Extract<Target, { kind: 'ip' }> {
  return { kind: 'ip', ip: Uint8Array.from(ipaddr.parse(text).toByteArray()), port };
}
