/** Dials through an upstream proxy: which addresses it is asked for, and what the program and the log are told. */
import { Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { type FaultName, WstunError } from '../../src/errors.ts';
import { createViaDialer } from '../../src/exit/via-dialer.ts';
import { type IpBytes, parseIp } from '../../src/net/ip.ts';
import { collectingLogger } from '../support/collecting-logger.ts';
import { faultOfPromise } from '../support/faults.ts';
import { VirtualClock } from '../support/time/virtual-clock.ts';

const ips = (...texts: string[]): IpBytes[] => texts.map((text) => parseIp(text) ?? new Uint8Array());
const never = new AbortController().signal;

/** A proxy that answers as the table says; hosts that it does not have get a connection. */
function dialler(answers: Readonly<Record<string, FaultName>>) {
  const asked: string[] = [];
  const clock = new VirtualClock();
  const { logger, lines } = collectingLogger();
  const dial = createViaDialer(
    async ({ host, port }) => {
      asked.push(`${host} ${port}`);
      const fault = answers[host];
      if (fault !== undefined) throw new WstunError(fault, 'secret.test:443');
      return new Socket();
    },
    'http://proxy:3128',
    logger,
    clock,
  );
  return { dial, asked, clock, lines };
}

describe('a dial through a proxy', () => {
  it('asks for at most three addresses, one after another, IPv4 first', async () => {
    const { dial, asked } = dialler({ '192.0.2.1': 'proxy-cannot-connect', '192.0.2.2': 'proxy-slow' });
    const socket = await dial(ips('2001:db8::1', '192.0.2.1', '2001:db8::2', '192.0.2.2'), 443, never);
    expect(socket).toBeInstanceOf(Socket);
    expect(asked).toEqual(['192.0.2.1 443', '192.0.2.2 443', '2001:db8::1 443']);
  });

  it.each<[FaultName, FaultName]>([
    ['proxy-cannot-connect', 'dial-host-unreachable'],
    ['proxy-forbids', 'dial-failed'],
    ['proxy-slow', 'dial-timed-out'],
    ['proxy-wrong-password', 'dial-failed'],
    ['proxy-unreachable', 'dial-failed'],
  ])('tells the program of %s: %s', async (fault, told) => {
    const { dial } = dialler({ '192.0.2.1': fault });
    expect(await faultOfPromise(dial(ips('192.0.2.1'), 443, never))).toBe(told);
  });

  it('logs trouble with the proxy once a minute, without the target, and none that is the target’s own', async () => {
    const { dial, clock, lines } = dialler({ '192.0.2.1': 'proxy-unreachable', '192.0.2.2': 'proxy-cannot-connect' });
    const logged = async (): Promise<number> => {
      await faultOfPromise(dial(ips('192.0.2.1'), 443, never));
      await faultOfPromise(dial(ips('192.0.2.2'), 443, never));
      return lines.length;
    };
    expect([await logged(), await logged()]).toEqual([1, 1]);
    await clock.advance(60_000);
    expect(await logged()).toBe(2);
    expect(JSON.stringify(lines)).not.toContain('secret.test');
  });

  it('ends after 10 s, and when it is cancelled', async () => {
    const clock = new VirtualClock();
    const { logger } = collectingLogger();
    const untilAborted = (signal: AbortSignal) =>
      new Promise<Socket>((_, reject) => {
        signal.addEventListener('abort', () => reject(new WstunError('dial-cancelled')));
      });
    const dial = createViaDialer((_, signal) => untilAborted(signal), 'http://proxy', logger, clock);
    const slow = faultOfPromise(dial(ips('192.0.2.1'), 443, never));
    await clock.advance(10_000);
    expect(await slow).toBe('dial-timed-out');
    const stop = new AbortController();
    const cancelled = faultOfPromise(dial(ips('192.0.2.1'), 443, stop.signal));
    stop.abort();
    expect(await cancelled).toBe('dial-cancelled');
  });
});
