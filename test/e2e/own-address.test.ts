/**
 * An exit whose public address is on none of its interfaces, as behind the NAT of a cloud or of a home.
 */
import { connect, createServer } from 'node:net';
import { describe, expect, it } from 'vitest';
import { startDnsServer } from '../support/net/dns-server.ts';
import { addNamespace, ip, wire, within } from '../support/net/namespaces.ts';
import { tcpServer } from '../support/net/tcp.ts';
import { run } from '../support/programs/programs.ts';
import { invite, startClient, startExit, startRelay } from '../support/programs/wstun-stack.ts';
import { askSocks5, socks5Request } from '../support/proxy/through-proxy.ts';
import { atEnd } from '../support/scope.ts';

/**
 * On no interface of the machine that dials. There is a route to it, so that a dial does not fail for lack of one.
 */
const PUBLIC = '93.184.216.34';
/** There is no way to it. */
const OTHER = '93.184.216.35';
const NOT_ALLOWED = 2;

async function codeOf(proxy: number, host: string, port: number): Promise<number> {
  const { code, socket } = await askSocks5(proxy, socks5Request(host, port));
  socket.destroy();
  return code;
}

describe('the public address of a relay', () => {
  it('a relay rejects its own public address as a target, where its URL has it as a literal', async () => {
    const { port } = await clientOf(['--url', `ws://${PUBLIC}:18400`]);
    for (const to of [18_400, 22, 80]) expect(await codeOf(port, PUBLIC, to)).toBe(NOT_ALLOWED);
    expect(await codeOf(port, `::ffff:${PUBLIC}`, 80)).toBe(NOT_ALLOWED);
    expect(await codeOf(port, `64:ff9b::${PUBLIC}`, 80)).toBe(NOT_ALLOWED);
    expect(await codeOf(port, OTHER, 80)).not.toBe(NOT_ALLOWED);
  });

  it('a relay rejects its own public address as a target by every name, where its URL has a name', async () => {
    const { port } = await clientOf(['--url', 'ws://relay.wstun-e2e.net:18400']);
    for (const host of [PUBLIC, 'relay.wstun-e2e.net', 'other.wstun-e2e.net']) {
      expect(await codeOf(port, host, 80)).toBe(NOT_ALLOWED);
    }
  });

  it('a relay with --public-address rejects that address as a target, instead of the one of its URL', async () => {
    const { port } = await clientOf(['--url', `ws://${PUBLIC}:18400`, '--public-address', OTHER]);
    expect(await codeOf(port, OTHER, 80)).toBe(NOT_ALLOWED);
    expect(await codeOf(port, PUBLIC, 80)).not.toBe(NOT_ALLOWED);
  });

  async function clientOf(args: readonly string[]) {
    const dns = await startDnsServer({
      'relay.wstun-e2e.net': { addresses: [PUBLIC] },
      'other.wstun-e2e.net': { addresses: [PUBLIC] },
    });
    atEnd(() => dns.close());
    const relay = await startRelay({ dns, args });
    return await startClient(await invite(relay, 'alice', { url: `ws://127.0.0.1:${relay.port}` }));
  }
});

it('a named exit behind a NAT rejects as a target the address under which its relay sees it', async () => {
  const name = `wstun-own-${process.pid}`;
  await addNamespace(name);
  await wire(
    { name: `wo${process.pid}`, address: '10.91.0.1' },
    { namespace: name, name: 'home', address: '10.91.0.2' },
  );
  await ip('-n', name, 'route', 'add', 'default', 'via', '10.91.0.1');
  await ip('-n', name, 'route', 'add', 'unreachable', OTHER);
  await ip('address', 'add', `${PUBLIC}/32`, 'dev', 'lo');
  atEnd(() => run('ip', ['address', 'delete', `${PUBLIC}/32`, 'dev', 'lo']));
  const relay = await startRelay({ args: ['--no-exit'] });
  const nat = await tcpServerAt('10.91.0.1', relay.port);
  const registration = await invite(relay, 'home', { url: `ws://10.91.0.1:${nat}`, role: 'exit' });
  const exit = await startExit({ invite: registration, within: within(name) });
  const port = await tcpServer((socket) => socket.end());
  const { port: proxy } = await startClient(await invite(exit, 'alice', { url: relay.url }));
  expect(await codeOf(proxy, PUBLIC, port)).toBe(NOT_ALLOWED);
  expect(await codeOf(proxy, PUBLIC, 80)).toBe(NOT_ALLOWED);
  expect(await codeOf(proxy, OTHER, 80)).not.toBe(NOT_ALLOWED);
});

/** What a NAT does: it forwards to that port of 127.0.0.1, in the name of the public address. */
async function tcpServerAt(host: string, to: number): Promise<number> {
  const server = createServer((socket) => {
    const onward = connect({ host: '127.0.0.1', port: to, localAddress: PUBLIC });
    for (const each of [socket, onward]) each.on('error', () => [socket.destroy(), onward.destroy()]);
    socket.pipe(onward).pipe(socket);
    atEnd(() => void socket.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  atEnd(() => void server.close());
  const address = server.address();
  return typeof address === 'object' && address ? address.port : 0;
}
