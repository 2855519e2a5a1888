/**
 * wstun on the other releases of Node: a tunnel, a named exit whose links are aborted, the protocol of a phone's page,
 * and 64 MB each way; test/figures/cost.test.ts carries more. The whole suite runs only on the Node that runs it,
 * and a part of it on the newest (vitest.config.ts).
 */
import { beforeEach, describe, expect, it } from 'vitest';
import { startChaosProxy } from '../support/net/chaos-proxy.ts';
import { echo, tcpServer } from '../support/net/tcp.ts';
import { exchange, receive, sendPayload } from '../support/payload.ts';
import { run } from '../support/programs/programs.ts';
import { runOnNode, wstun } from '../support/programs/wstun-process.ts';
import { invite, startClient, startExit, startRelay, startStack } from '../support/programs/wstun-stack.ts';
import { connectThrough } from '../support/proxy/through-proxy.ts';
import { startScripted } from '../support/tether/tethered.ts';
import { until } from '../support/until.ts';
import { isThere, nodeProgram, OTHER_LINES } from '../support/vitest/other-nodes.ts';

const MIB = 1024 * 1024;
const PAYLOAD = 64_000_000;
/** Of each leg, so that links are aborted while bytes are in flight. */
const BYTES_PER_SECOND = 8 * MIB;

for (const version of OTHER_LINES) {
  const program = nodeProgram(version);
  const isMissing = !isThere(version);
  if (isMissing) process.stderr.write(`\n!!! no Node ${version} at ${program}: wstun is NOT tested on it\n`);

  describe.skipIf(isMissing && process.env.CI === undefined)(`on Node ${version}, wstun`, { timeout: 300_000 }, () => {
    beforeEach(() => runOnNode(program));

    it(`wstun --version on Node ${version} prints no warning`, async () => {
      expect(await run(program, ['--version'])).toMatchObject({ stdout: expect.stringMatching(`^v${version}\\.`) });
      expect(await wstun(['--version'])).toMatchObject({ code: 0, stderr: '' });
    });

    it(`wstun on Node ${version} carries a page by SOCKS5, CONNECT and plain HTTP`, async () => {
      const page = await tcpServer((socket) => {
        socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello\n'));
      });
      const { client } = await startStack();
      for (const proxy of ['socks5h', 'http'])
        for (const tunnel of ['--proxytunnel', '--no-proxytunnel']) {
          const args = ['-sS', tunnel, '-x', `${proxy}://127.0.0.1:${client.port}`, `http://127.0.0.1:${page}/`];
          expect(await run('curl', args)).toMatchObject({ code: 0, stdout: 'hello\n' });
        }
    });

    it(`wstun on Node ${version} carries 64 MB down and 64 MB up, every byte as it was sent`, async () => {
      const { client } = await startStack();
      const sent: Promise<string>[] = [];
      const source = await tcpServer((socket) => sent.push(sendPayload(socket, PAYLOAD, 1)));
      const down = await receive(await connectThrough('SOCKS5', client.port, source));
      expect(down).toEqual({ bytes: PAYLOAD, hash: await sent[0] });

      const received: ReturnType<typeof receive>[] = [];
      const sink = await tcpServer((socket) => received.push(receive(socket)));
      const upload = await connectThrough('SOCKS5', client.port, sink);
      const hash = await sendPayload(upload, PAYLOAD, 2);
      expect(await received[0]).toEqual({ bytes: PAYLOAD, hash });
    });

    it(`wstun on Node ${version} loses no byte of a named exit’s stream whose links are aborted on either leg`, async () => {
      const target = await tcpServer(echo);
      const relay = await startRelay({ args: ['--no-exit'] });
      const shape = { target: { host: '127.0.0.1', port: relay.port }, bytesPerSecond: BYTES_PER_SECOND };
      const [near, far] = [
        await startChaosProxy({ ...shape, seed: version }),
        await startChaosProxy({ ...shape, seed: version + 1 }),
      ];
      const url = (proxy: { port: number }) => `ws://127.0.0.1:${proxy.port}`;
      const exit = await startExit({
        invite: await invite(relay, 'home', { role: 'exit', url: url(far) }),
      });
      const client = await startClient(await invite(exit, 'alice', { allow: ['*'], url: url(near) }));
      const losses = () => client.process.events.filter(({ event }) => event === 'lost').length;
      const exchanged = exchange(await connectThrough('SOCKS5', client.port, target), 16 * MIB);
      for (const [i, proxy] of [near, far, near].entries()) {
        await until(() => near.bytes.up > (2 + 4 * i) * MIB, 20_000);
        proxy.resetAll();
        await until(() => losses() > i, 20_000);
      }
      const { sent, received } = await exchanged;
      expect(received).toEqual({ bytes: 16 * MIB, hash: sent });
      expect(client.process.events.filter(({ event }) => event === 'session-lost')).toEqual([]);
    });

    it(`wstun on Node ${version} carries its links through the page of a phone`, async () => {
      const target = await tcpServer(echo);
      const { port, page } = await startScripted();
      const { sent, received } = await exchange(await connectThrough('SOCKS5', port, target), 4 * MIB);
      expect(received).toEqual({ bytes: 4 * MIB, hash: sent });
      expect(page.links.length).toBeGreaterThan(0);
    });
  });
}
