/** What OPEN asks for (docs/protocol.md §4, §7.1). Pure. */
import { FEATURE_DATAGRAMS, FEATURE_SERVICES } from './frames.ts';
import type { Target } from './target.ts';

/** `accepted`: opened by an exit, for a connection that a listener of the client's has accepted. */
export type Service = 'tcp' | 'udp' | 'resolver' | 'tcp-listener' | 'udp-listener' | 'accepted';

const CODES: Readonly<Record<Service, number>> = {
  tcp: 1,
  udp: 2,
  resolver: 3,
  'tcp-listener': 4,
  'udp-listener': 5,
  accepted: 6,
};

const BY_CODE = new Map(Object.entries(CODES).map(([name, code]) => [code, name as Service]));

export function codeOfService(service: Service): number {
  return CODES[service];
}

/** Undefined for one that this version does not know. */
export function serviceOfCode(code: number): Service | undefined {
  return BY_CODE.get(code);
}

/** Nowhere: of an association whose datagrams say their own, and of the resolver. */
export const UNSPECIFIED: Target = { kind: 'ip', ip: new Uint8Array(4), port: 0 };

/** It exchanges datagrams with its target only. */
export function isConnected(service: Service, target: Target): boolean {
  return service === 'udp' && target.port !== 0;
}

/** It carries datagrams. */
export function hasDatagrams(service: Service): boolean {
  return service === 'udp' || service === 'udp-listener';
}

/** Its streams have bytes, and so credit. */
export function hasBytes(service: Service): boolean {
  return service === 'tcp' || service === 'resolver' || service === 'accepted';
}

/** Bits of HELLO's features that the other end must have offered. */
export function featuresFor(service: Service): number {
  switch (service) {
    case 'tcp':
      return 0;
    case 'udp':
      return FEATURE_DATAGRAMS;
    case 'udp-listener':
      return FEATURE_DATAGRAMS | FEATURE_SERVICES;
    case 'resolver':
    case 'tcp-listener':
    case 'accepted':
      return FEATURE_SERVICES;
  }
}

/** Bits that the opener itself must have offered, because the other end sends what they are about. */
export function featuresOfOpenerFor(service: Service): number {
  if (hasDatagrams(service)) return FEATURE_DATAGRAMS;
  return service === 'tcp-listener' ? FEATURE_SERVICES : 0;
}

/** What OPEN says beside its credit. */
export interface OpenRequest {
  readonly service: Service;
  readonly target: Target;
  /** Of `accepted`: the stream of the listener. */
  readonly listener?: number | undefined;
}
