/** An exit that is short of memory: nothing new begins, and what lives goes on. */
import { once } from 'node:events';
import { describe, expect, it, onTestFinished } from 'vitest';
import { MemoryGuard } from '../../src/app/memory-guard.ts';
import { silentLogger } from '../../src/observability/logger.ts';
import type { SessionRequest } from '../../src/protocol/session-request.ts';
import { initiateSecureLink } from '../../src/tunnel/dial/handshake.ts';
import { negotiateSession } from '../../src/tunnel/dial/session-dialer.ts';
import { ExitSessions } from '../../src/tunnel/session/exit-sessions.ts';
import { TunnelClient } from '../../src/tunnel/session/tunnel-client.ts';
import type { OfferedStream } from '../../src/tunnel/stream/stream.ts';
import { memoryLinkPair } from '../support/links/memory-link.ts';
import { CLIENT_KEYS, EXIT_KEYS } from '../support/links/secure-pair.ts';
import { never } from '../support/never.ts';
import { until } from '../support/until.ts';

function echo(offer: OfferedStream): void {
  const stream = offer.accept();
  stream.on('error', () => {});
  stream.pipe(stream);
}

function setUp() {
  const memory = { isShort: false };
  const exit = new ExitSessions({
    keys: EXIT_KEYS,
    peerOf: () => 'alice',
    isOverloaded: () => memory.isShort,
    acceptor: { handleOffer: echo },
    logger: silentLogger,
  });
  onTestFinished(() => exit.endAll('shutting-down'));
  const start = () => {
    const faults: string[] = [];
    const dial = async (request: () => SessionRequest) => {
      const [near, far] = memoryLinkPair();
      exit.serve(far, 'alice');
      const pinned = { keys: CLIENT_KEYS, exitKey: EXIT_KEYS.publicKey };
      const link = await initiateSecureLink(near, { ...pinned, suite: 'AESGCM', encryption: 'on' }, never);
      return negotiateSession(link, request(), never);
    };
    const observer = {
      onConnected() {},
      onLinkLost() {},
      onResumed() {},
      onSessionLost() {},
      onFailed: ({ fault }: { fault: string }) => void faults.push(fault),
    };
    const client = new TunnelClient({ dial }, observer, silentLogger);
    const run = client.run();
    onTestFinished(async () => {
      await client.close(0);
      await run;
    });
    return { client, faults };
  };
  return { start, exit, memory };
}

describe('an exit that is short of memory', () => {
  it('an exit that is short of memory rejects new sessions, continues the others, and accepts new ones when it can', async () => {
    const { start, exit, memory } = setUp();
    const stream = await start().client.open({ kind: 'name', name: 'example.org', port: 80 }, never);
    memory.isShort = true;
    const late = start();
    await until(() => late.faults.length > 0);
    expect(late.faults[0]).toBe('overloaded');
    stream.write('moves');
    expect(String((await once(stream, 'data'))[0])).toBe('moves');
    expect(exit.count).toBe(1);
    memory.isShort = false;
    await until(() => exit.count === 2);
  });
});

describe('MemoryGuard', () => {
  it('MemoryGuard is over above its limit, and measures again after 50 ms', () => {
    let held = 100;
    const guard = new MemoryGuard(100, () => held);
    expect(guard.isOver(0)).toBe(false);
    held = 101;
    expect(guard.isOver(49)).toBe(false);
    expect(guard.isOver(50)).toBe(true);
    held = 100;
    expect(guard.isOver(100)).toBe(false);
  });

  it('MemoryGuard has a default limit below the memory of the machine', () => {
    expect(new MemoryGuard().isOver(0)).toBe(false);
    expect(new MemoryGuard(undefined, () => Number.MAX_SAFE_INTEGER).isOver(0)).toBe(true);
  });
});
