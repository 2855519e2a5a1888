/** A relay whose listening socket belongs to another process, as with systemd's .socket units. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { describe, expect, it } from 'vitest';
import { echo, tcpServer } from '../support/net/tcp.ts';
import { exchange } from '../support/payload.ts';
import { run } from '../support/programs/programs.ts';
import { holdSocket } from '../support/programs/socket-holder.ts';
import { wstunPath } from '../support/programs/wstun-program.ts';
import { invite, startClient, startExit } from '../support/programs/wstun-stack.ts';
import { rawExchange } from '../support/proxy/raw-http.ts';
import { connectThrough, dial } from '../support/proxy/through-proxy.ts';
import { tempDir } from '../support/temp-dir.ts';
import { until } from '../support/until.ts';

const MIB = 1024 * 1024;

/** Connects every few hundredths of a second until `stop`, and counts. */
function hammer(port: number): { readonly counts: { connected: number; refused: number }; stop(): Promise<void> } {
  const counts = { connected: 0, refused: 0 };
  let stopped = false;
  const run = async (): Promise<void> => {
    while (!stopped) {
      const socket = connect(port, '127.0.0.1');
      const outcome = await Promise.race([once(socket, 'connect'), once(socket, 'error')]).catch(() => undefined);
      if (outcome?.length === 0) counts.connected += 1;
      else counts.refused += 1;
      socket.on('error', () => {});
      socket.resetAndDestroy();
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  const running = run();
  return {
    counts,
    stop: async () => {
      stopped = true;
      await running;
    },
  };
}

describe('a relay that is passed its listening socket', () => {
  it('a relay with a passed socket restarts under load without a refused connect, and connections of a named exit live on', {
    timeout: 600_000,
  }, async () => {
    const target = await tcpServer(echo);
    const holder = await holdSocket();
    const args = ['--state', await tempDir(), '--no-exit', '--url', `ws://127.0.0.1:${holder.port}`];
    let pid = await holder.relay(args);
    const of = { state: args[1] ?? '' };
    const exit = await startExit({ invite: await invite(of, 'home', { role: 'exit' }) });
    const client = await startClient(await invite(exit, 'alice', { allow: ['127.0.0.1'] }));
    const throughout = await connectThrough('SOCKS5', client.port, target);
    const load = hammer(holder.port);
    for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
      process.kill(pid, signal);
      expect(await holder.exited()).toBe(signal === 'SIGKILL' ? 137 : 0);
      // Nobody accepts now; the kernel still connects.
      (await dial(holder.port)).destroy();
      pid = await holder.relay(args);
      await client.process.event('resumed', 60_000);
      const { sent, received } = await exchange(await connectThrough('SOCKS5', client.port, target), MIB);
      expect(received).toEqual({ bytes: MIB, hash: sent });
    }
    const { sent, received } = await exchange(throughout, MIB);
    expect(received).toEqual({ bytes: MIB, hash: sent });
    await until(() => load.counts.connected > 100);
    await load.stop();
    expect(load.counts.refused).toBe(0);
  });

  it('a relay with a passed socket answers a stranger who connected while it was down', {
    timeout: 300_000,
  }, async () => {
    const holder = await holdSocket();
    const args = ['--state', await tempDir()];
    process.kill(await holder.relay(args), 'SIGTERM');
    expect(await holder.exited()).toBe(0);
    const answer = rawExchange(holder.port, 'GET / HTTP/1.1\r\nHost: x\r\n\r\n', { limitMs: 20_000 });
    await holder.relay(args);
    expect(await answer).toMatchObject({ bytes: expect.stringMatching(/^HTTP\/1\.1 404 /), end: 'fin' });
  });

  it.each([
    ['a file', '3</etc/hostname', 'LISTEN_FDS=1 LISTEN_PID=$$'],
    ['no descriptor at all', '', 'LISTEN_FDS=40 LISTEN_PID=$$'],
    ['an invalid number', '', 'LISTEN_FDS=one LISTEN_PID=$$'],
  ])('a relay says what is wrong where it was passed %s instead of a socket', async (_, redirection, variables) => {
    const relay = `relay --state ${await tempDir()}/state --listen 127.0.0.1:0`;
    const script = `export ${variables}; exec ${process.execPath} ${wstunPath} ${relay} ${redirection}`;
    const { code, stdout, stderr } = await run('bash', ['-c', script]);
    expect({ code, stdout, stderr }).toMatchObject({
      code: 78,
      stdout: '',
      stderr: expect.stringContaining('(WSTUN-E123)'),
    });
    expect(stderr.trim().split('\n')).toHaveLength(1);
  });
});
