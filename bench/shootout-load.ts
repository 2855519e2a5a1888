/**
 * The clients of the shootout, a process of its own: one request a line of stdin as JSON, one answer a line of stdout.
 *
 *     grow        so many more clients
 *     echo        each client sends, and sends again when it has the answer
 *     broadcast   some clients at a time send to all
 *     drop        all clients end
 */
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { type ClientPlace, ShootoutClient, textFrame } from './shootout-client.ts';
import { quantile } from './statistics.ts';

export type ShootoutRequest =
  | ({ readonly do: 'grow'; readonly count: number } & ClientPlace)
  | { readonly do: 'echo'; readonly ms: number }
  | { readonly do: 'broadcast'; readonly samples: number; readonly atOnce: number; readonly limitMs: number }
  | { readonly do: 'drop' };

export interface ShootoutAnswer {
  /** Of an echo, or of a broadcast until everyone has it and its sender has the result, ms. */
  readonly p95: number;
  readonly perSecond: number;
  /** CPU time of this process, s, and how long it took. */
  readonly cpu: number;
  readonly seconds: number;
}

/** Connections under way: an exit dials 256 targets of one client at once. */
const OPEN_AT_ONCE = 100;
const ID_DIGITS = 8;
/** Where the digits begin in each message. */
const ID_AT = '{"id":"'.length;

const clients: ShootoutClient[] = [];
let onText: ConstructorParameters<typeof ShootoutClient>[1] = () => {};

function messageOf(id: number, type: 'echo' | 'broadcast'): string {
  const payload = { text: 'a small message', number: 42 };
  return JSON.stringify({ id: String(id).padStart(ID_DIGITS, '0'), type, payload });
}

async function grow({ count, ...place }: { readonly count: number } & ClientPlace): Promise<void> {
  for (let left = count; left > 0; left -= OPEN_AT_ONCE) {
    const batch = Array.from({ length: Math.min(left, OPEN_AT_ONCE) }, () => {
      return new ShootoutClient(place, (...text) => onText(...text));
    });
    await Promise.all(batch.map(({ opened }) => opened));
    clients.push(...batch);
  }
}

async function timed(measure: () => Promise<readonly number[]>, limitMs = Infinity): Promise<ShootoutAnswer> {
  const [began, before] = [performance.now(), process.cpuUsage()];
  const times = await measure();
  const seconds = (performance.now() - began) / 1000;
  const { user, system } = process.cpuUsage(before);
  const sorted = times.toSorted((a, b) => a - b);
  const perSecond = times.filter((ms) => ms < limitMs).length / seconds;
  return { p95: quantile(sorted, 0.95), perSecond, cpu: (user + system) / 1e6, seconds };
}

/** All clients at once: the more there are, the longer each waits. */
async function echo(ms: number): Promise<readonly number[]> {
  const text = Buffer.from(messageOf(0, 'echo'));
  const frame = textFrame(text.toString());
  const sentAt = new Map<ShootoutClient, number>();
  const times: number[] = [];
  let isOver = false;
  const send = (client: ShootoutClient, now: number): void => {
    sentAt.set(client, now);
    client.send(frame);
  };
  onText = (client, bytes, start, end) => {
    if (text.compare(bytes, start, end) !== 0) throw new Error('an echo differs');
    const now = performance.now();
    times.push(now - (sentAt.get(client) ?? now));
    if (isOver) sentAt.delete(client);
    else send(client, now);
  };
  for (const client of clients) send(client, performance.now());
  await delay(ms);
  isOver = true;
  // What is under way is part of it: the slowest must not be left out.
  while (sentAt.size > 0) await delay(1);
  return times;
}

interface Broadcast {
  readonly sentAt: number;
  /** Deliveries, and the result. */
  left: number;
  readonly done: (ms: number) => void;
}

/** What does not even begin within the limit counts as if it took so long. */
async function broadcast(samples: number, atOnce: number, limitMs: number): Promise<readonly number[]> {
  const open = new Map<number, Broadcast>();
  const times: number[] = [];
  let next = 0;
  onText = (_client, bytes, start) => {
    const id = Number(bytes.toString('latin1', start + ID_AT, start + ID_AT + ID_DIGITS));
    const sent = open.get(id);
    if (sent === undefined) return;
    sent.left -= 1;
    if (sent.left > 0) return;
    open.delete(id);
    sent.done(performance.now() - sent.sentAt);
  };
  const until = performance.now() + limitMs;
  const sendAll = async (first: number): Promise<void> => {
    for (let i = first; next < samples && performance.now() < until; i += atOnce) {
      const id = next++;
      const sender = clients[(i * 7919) % clients.length];
      const done = new Promise<number>((resolve) => {
        open.set(id, { sentAt: performance.now(), left: clients.length + 1, done: resolve });
      });
      sender?.send(textFrame(messageOf(id, 'broadcast')));
      times.push(await done);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, (_, i) => sendAll(i)));
  return [...times, ...Array.from({ length: samples - times.length }, () => limitMs)];
}

async function answer(request: ShootoutRequest): Promise<unknown> {
  switch (request.do) {
    case 'grow':
      await grow(request);
      return {};
    case 'echo':
      return await timed(() => echo(request.ms));
    case 'broadcast':
      return await timed(() => broadcast(request.samples, request.atOnce, request.limitMs), request.limitMs);
    case 'drop':
      for (const client of clients.splice(0)) client.end();
      return {};
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  try {
    process.stdout.write(`${JSON.stringify(await answer(JSON.parse(line) as ShootoutRequest))}\n`);
  } catch (error) {
    process.stdout.write(`${JSON.stringify({ failed: String(error) })}\n`);
  }
}
