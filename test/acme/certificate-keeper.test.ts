/** In virtual time: certificates of two days, whose clock stands where they begin. */
import { X509Certificate } from 'node:crypto';
import { expect, it, onTestFinished } from 'vitest';
import { AcmeFault } from '../../src/acme/acme-fault.ts';
import { CertificateKeeper, type Stored } from '../../src/acme/certificate-keeper.ts';
import type { Certificate } from '../../src/acme/order.ts';
import { collectingLogger } from '../support/collecting-logger.ts';
import { makeCertificate } from '../support/programs/certificate.ts';
import { VirtualClock } from '../support/time/virtual-clock.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

const [first, second] = [makeCertificate(), makeCertificate()];
const beginning = Date.parse(new X509Certificate(first.cert).validFrom);

function rig(stored: Stored | undefined, order: (attempt: number, signal: AbortSignal) => Promise<Certificate>) {
  const clock = new VirtualClock({ wallTime: beginning });
  const { logger, lines } = collectingLogger();
  const disk = { stored };
  const orders: number[] = [];
  const used: string[] = [];
  const keeper = new CertificateKeeper({
    load: async () => disk.stored,
    order: async (attempt, signal) => {
      orders.push(clock.now());
      const certificate = await order(attempt, signal);
      disk.stored = { ...certificate, isAsWanted: true };
      return certificate;
    },
    logger,
    clock,
  });
  onTestFinished(() => keeper.stop());
  const start = async () => {
    const read = await keeper.read();
    keeper.follow(({ cert }) => used.push(cert));
    return read;
  };
  return { clock, lines, disk, orders, used, keeper, start };
}

it('where there is no certificate, one is ordered at once and used', async () => {
  const { clock, orders, used, start } = rig(undefined, async () => first);
  expect(await start()).toBeUndefined();
  await clock.advance(1);
  expect(orders).toEqual([0]);
  expect(used).toEqual([first.cert]);
});

it('a certificate that is stored is not ordered before two thirds of its life, and then renewed', async () => {
  const { clock, orders, used, start } = rig({ ...first, isAsWanted: true }, async () => second);
  expect((await start())?.cert).toBe(first.cert);
  await clock.advance(30 * HOUR);
  expect(orders).toEqual([]);
  await clock.advanceUntil(() => orders.length === 1, 2.01 * HOUR);
  expect(used).toEqual([second.cert]);
});

it('a calendar that is set a month ahead renews within the hour', async () => {
  const { clock, orders, start } = rig({ ...first, isAsWanted: true }, async () => second);
  await start();
  await clock.advance(MINUTE);
  clock.setWallTime(beginning + 30 * 24 * HOUR);
  await clock.advance(HOUR);
  expect(orders).toHaveLength(1);
  // What the authority issued is over by that calendar, too: it is not asked again and again.
  await clock.advance(24 * HOUR);
  expect(orders.length).toBeLessThanOrEqual(25);
});

it('a stored certificate with other names is used until its successor is there, which is ordered at once', async () => {
  const { clock, orders, used, start } = rig({ ...first, isAsWanted: false }, async () => second);
  expect((await start())?.cert).toBe(first.cert);
  await clock.advance(1);
  expect(orders).toEqual([0]);
  expect(used).toEqual([second.cert]);
});

it('failures are tried again with pauses that double, and each kind is said once, with what stays in use', async () => {
  const faults = ['acme-unreachable', 'acme-unreachable', 'acme-port-closed', 'acme-unreachable'] as const;
  const { clock, orders, lines, used, start } = rig({ ...first, isAsWanted: false }, async (attempt) => {
    const fault = faults[attempt];
    if (fault === undefined) return second;
    throw new AcmeFault(fault, 'the reason');
  });
  await start();
  await clock.advance(30 * MINUTE);
  const pauses = orders.slice(1).map((at, n) => (at - (orders[n] ?? 0)) / MINUTE);
  expect(pauses).toHaveLength(4);
  for (const [n, pause] of pauses.entries()) {
    expect(pause).toBeGreaterThanOrEqual(2 ** n);
    expect(pause).toBeLessThanOrEqual(1.26 * 2 ** n);
  }
  const said = lines.filter(({ level }) => level >= 40);
  expect(said.map(({ code }) => code)).toEqual(['WSTUN-E151', 'WSTUN-E152']);
  for (const { message } of said) expect(message).toMatch(/The previous certificate stays in use\.$/);
  expect(used).toEqual([second.cert]);
});

it('after a success a failure is said again', async () => {
  let isDown = true;
  const { clock, lines, start } = rig(undefined, async () => {
    if (isDown) throw new AcmeFault('acme-unreachable', 'the reason');
    return first;
  });
  await start();
  await clock.advance(1);
  isDown = false;
  await clock.advance(2 * MINUTE);
  isDown = true;
  await clock.advance(34 * HOUR);
  const said = lines.filter(({ code }) => code === 'WSTUN-E151');
  expect(
    said.filter(({ level }) => level === 50).map(({ message }) => /There is no|The previous/.exec(message)?.[0]),
  ).toEqual(['There is no', 'The previous']);
});

it('an authority that asks for an hour with Retry-After is left alone for an hour', async () => {
  const { clock, orders, start } = rig(undefined, async () => {
    throw new AcmeFault('acme-rate-limited', 'too many', HOUR);
  });
  await start();
  await clock.advance(59 * MINUTE);
  expect(orders).toHaveLength(1);
  await clock.advance(17 * MINUTE);
  expect(orders).toHaveLength(2);
});

it('a certificate that another process has renewed is taken over instead of ordered', async () => {
  const { clock, orders, used, disk, start } = rig({ ...first, isAsWanted: true }, async () => first);
  await start();
  await clock.advance(20 * HOUR);
  disk.stored = { ...second, isAsWanted: true };
  // Its successor is as old: it is due now, and ordered.
  await clock.advance(12.1 * HOUR);
  expect(used[0]).toBe(second.cert);
  expect(orders.length).toBeLessThanOrEqual(1);
});

it('stop ends a wait and an order that is under way, and nothing is said or used after it', async () => {
  const waiting = rig({ ...first, isAsWanted: true }, async () => second);
  await waiting.start();
  await waiting.clock.advance(1);
  await waiting.keeper.stop();
  expect(waiting.clock.timers).toBe(0);
  const ordering = rig(
    undefined,
    (_attempt, signal) =>
      new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
  );
  await ordering.start();
  await ordering.clock.advance(1);
  await ordering.keeper.stop();
  expect(ordering.lines).toEqual([]);
  expect(ordering.used).toEqual([]);
});
