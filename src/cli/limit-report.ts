/** What was learnt of a network that stops connections, for people and for programs. */
import type { ClientEvents } from '../app/client.ts';

type Limit = Parameters<NonNullable<ClientEvents['onLimit']>>[0];

const WHAT: Readonly<Record<Limit['how'], string>> = { froze: 'freezes', lost: 'ends', slowed: 'slows down' };

const HOW_MUCH: Readonly<Record<Limit['by'], (value: number) => string>> = {
  received: (bytes) => `after about ${sized(bytes)} received`,
  sent: (bytes) => `after about ${sized(bytes)} sent`,
  ageMs: (ms) => `after about ${Math.round(ms / 1000)} s`,
  idleMs: (ms) => `that are idle for about ${Math.round(ms / 1000)} s`,
};

const NAMES: Readonly<Record<Limit['by'], string>> = {
  received: 'bytesReceived',
  sent: 'bytesSent',
  ageMs: 'ageMs',
  idleMs: 'idleMs',
};

export function limitEvent({ by, how, value }: Limit) {
  return { event: 'limit', what: how, by: NAMES[by], value: Math.round(value) } as const;
}

export function limitText({ by, how, value }: Limit): string {
  const remedy = by === 'idleMs' ? 'wstun keeps them busy' : 'wstun changes links before that';
  return `this network ${WHAT[how]} connections ${HOW_MUCH[by](value)}; ${remedy}`;
}

function sized(bytes: number): string {
  return bytes < 1_000_000 ? `${Math.round(bytes / 1000)} KB` : `${(bytes / 1_000_000).toFixed(1)} MB`;
}
