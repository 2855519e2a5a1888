/** A process without free file descriptors says so once, with its limit, and reports no defect. */
import type { Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { echo, tcpServer } from '../support/net/tcp.ts';
import type { WstunProcess } from '../support/programs/wstun-process.ts';
import { invite, startBehindRelay, startClient, startRelay } from '../support/programs/wstun-stack.ts';
import { connectThrough } from '../support/proxy/through-proxy.ts';

/** A process opens many of its files at once when it starts. */
const LIMIT = 96;
/** Both limits: Node raises the soft one to the hard one. */
const FEW = ['prlimit', `--nofile=${LIMIT}:${LIMIT}`];
const CONNECTIONS = 150;

/** As many as come about. */
async function crowd(port: number, target: number): Promise<Socket[]> {
  const open: Socket[] = [];
  for (let i = 0; i < CONNECTIONS; i++) {
    const socket = await connectThrough('SOCKS5', port, target).catch(() => undefined);
    if (socket !== undefined) open.push(socket);
  }
  return open;
}

/** One warning at its start, and one when it has none left. */
async function expectToldOnce(process: WstunProcess): Promise<void> {
  const told = () => process.stderr.match(/WSTUN-E135/g)?.length;
  await expect.poll(told, { timeout: 30_000 }).toBeDefined();
  expect(process.stderr).toContain(`the limit of open files is low: it is ${LIMIT}`);
  expect(process.stderr).toMatch(new RegExp(`its limit is ${LIMIT}.*LimitNOFILE=.*ulimit -n`));
  // One of them is the code as a field of the same line.
  expect(told()).toBe(2);
  expect(process.stderr).not.toMatch(/internal error|EMFILE/);
}

async function expectWellAgain(open: readonly Socket[], port: number, target: number): Promise<void> {
  expect(open.length).toBeGreaterThan(10);
  expect(open.length).toBeLessThan(CONNECTIONS);
  for (const socket of open) socket.destroy();
  await expect
    .poll(async () => (await connectThrough('SOCKS5', port, target).catch(() => undefined)) !== undefined, {
      timeout: 10_000,
    })
    .toBe(true);
}

describe('without descriptors', { timeout: 180_000 }, () => {
  it('a relay without free descriptors says so once, reports no defect, and works again when some are free', async () => {
    const target = await tcpServer(echo);
    const relay = await startRelay({ within: FEW });
    const client = await startClient(await invite(relay, 'alice', { allow: ['*'] }));
    const open = await crowd(client.port, target);
    await expectToldOnce(relay.process);
    expect(client.process.stderr).not.toContain('internal error');
    await expectWellAgain(open, client.port, target);
  });

  it('a relay accepts new links while streams hold all descriptors but its reserve', async () => {
    const target = await tcpServer(echo);
    const relay = await startRelay({ within: FEW });
    const client = await startClient(await invite(relay, 'alice', { allow: ['*'] }));
    await crowd(client.port, target);
    const late = await startClient(await invite(relay, 'bob', { allow: ['*'] }));
    expect(late.process.events.map(({ event }) => event)).toEqual(['ready']);
  });

  it('a named exit without free descriptors says so once, reports no defect, and works again when some are free', async () => {
    const target = await tcpServer(echo);
    const { exit } = await startBehindRelay([], { within: FEW });
    const client = await startClient(await invite(exit, 'alice', { allow: ['*'] }));
    const open = await crowd(client.port, target);
    await expectToldOnce(exit.process);
    await expectWellAgain(open, client.port, target);
  });

  it('a client without free descriptors says so once, and works again when some are free', async () => {
    const target = await tcpServer(echo);
    const relay = await startRelay();
    const client = await startClient(await invite(relay, 'alice', { allow: ['*'] }), { within: FEW });
    const open = await crowd(client.port, target);
    await expectToldOnce(client.process);
    await expectWellAgain(open, client.port, target);
  });
});
