/** A relay whose strangers see a site (`--decoy`): clients get in beside its visitors, whatever is in front of it. */
import { once } from 'node:events';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { decodeInvite } from '../../src/crypto/invite.ts';
import { type TicketFields, TicketSealer } from '../../src/crypto/ticket.ts';
import { closedPort, echo, tcpServer } from '../support/net/tcp.ts';
import { exchange } from '../support/payload.ts';
import { makeCertificate } from '../support/programs/certificate.ts';
import { startNginx } from '../support/programs/nginx.ts';
import { freePort, runWell } from '../support/programs/programs.ts';
import { wrongClock } from '../support/programs/wrong-clock.ts';
import { WstunProcess } from '../support/programs/wstun-process.ts';
import { invite, type RunningClient, startClient, startRelay } from '../support/programs/wstun-stack.ts';
import { openRaw, rawExchange, readUntil } from '../support/proxy/raw-http.ts';
import { connectThrough } from '../support/proxy/through-proxy.ts';
import { tempDir } from '../support/temp-dir.ts';

const FIELDS: TicketFields = { role: 'client', destination: '', protocol: 1, features: 0 };

async function carries({ port }: RunningClient): Promise<void> {
  const socket = await connectThrough('SOCKS5', port, await tcpServer(echo));
  const { sent, received } = await exchange(socket, 1_000_000);
  expect(received).toEqual({ bytes: 1_000_000, hash: sent });
}

async function startSite() {
  const nginx = await startNginx();
  await writeFile(join(nginx.root, 'index.html'), '<h1>A site</h1>\n');
  return nginx;
}

const curl = (url: string, ...args: readonly string[]) => runWell('curl', ['-s', ...args, url]);

describe('a relay with --decoy URL', () => {
  it('visitors see the site of the upstream, and a client gets in', async () => {
    const nginx = await startSite();
    const relay = await startRelay({ args: ['--decoy', `http://127.0.0.1:${nginx.port}`, '--path', '/in'] });
    expect(await curl(`http://127.0.0.1:${relay.port}/`)).toBe('<h1>A site</h1>\n');
    await carries(await startClient(await invite(relay, 'alice', { allow: ['*'] })));
    // Its ticket did not reach the upstream.
    expect((await nginx.accessLog()).join('\n')).not.toMatch(/[\w-]{168}/);
  });

  it('visitors see the site over TLS, also where the upstream speaks TLS, and a client gets in', async () => {
    const dir = await tempDir();
    const { cert, key } = makeCertificate();
    const [certFile, keyFile] = [join(dir, 'cert.pem'), join(dir, 'key.pem')];
    await writeFile(certFile, cert);
    await writeFile(keyFile, key);
    const tls = await freePort();
    const nginx = await startNginx(
      `listen 127.0.0.1:${tls} ssl; ssl_certificate ${certFile}; ssl_certificate_key ${keyFile};`,
    );
    await writeFile(join(nginx.root, 'index.html'), '<h1>A site</h1>\n');
    const env = { NODE_EXTRA_CA_CERTS: certFile };
    const args = ['--decoy', `https://127.0.0.1:${tls}`, '--tls-cert', certFile, '--tls-key', keyFile];
    const relay = await startRelay({ args, env });
    expect(await curl(`https://127.0.0.1:${relay.port}/`, '--cacert', certFile)).toBe('<h1>A site</h1>\n');
    await carries(await startClient(await invite(relay, 'alice', { allow: ['*'] }), { env }));
  });

  it('the WebSockets of the site work through the relay, with half-closes of nothing', async () => {
    const site = createServer().listen(0, '127.0.0.1');
    await once(site, 'listening');
    const sockets = new WebSocketServer({ server: site });
    sockets.on('connection', (socket) => socket.on('message', (data) => socket.send(data)));
    onTestFinished(() => {
      for (const each of sockets.clients) each.terminate();
      site.close();
    });
    const relay = await startRelay({ args: ['--decoy', `http://127.0.0.1:${(site.address() as AddressInfo).port}`] });
    const socket = new WebSocket(`ws://127.0.0.1:${relay.port}/chat`);
    await once(socket, 'open');
    for (const size of [1, 200, 70_000]) {
      socket.send(Buffer.alloc(size, 'GET /'));
      const [data] = (await once(socket, 'message')) as [Buffer];
      expect(data.equals(Buffer.alloc(size, 'GET /'))).toBe(true);
    }
    socket.close();
    await once(socket, 'close');
  });

  it('large bodies pass both ways with back-pressure, and a reset of the upstream is one for the visitor', async () => {
    const port = await tcpServer((socket) => {
      socket.once('data', (chunk: Buffer) => {
        if (chunk.includes('/reset')) return void socket.resetAndDestroy();
        socket.write(chunk.subarray(chunk.indexOf('\r\n\r\n') + 4));
        socket.pipe(socket);
      });
    });
    const relay = await startRelay({ args: ['--decoy', `http://127.0.0.1:${port}`] });
    const socket = openRaw(relay.port);
    socket.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 999999999\r\n\r\n');
    const { sent, received } = await exchange(socket, 8_000_000);
    expect(received).toEqual({ bytes: 8_000_000, hash: sent });
    const { end } = await rawExchange(relay.port, 'GET /reset HTTP/1.1\r\nHost: a\r\n\r\n');
    expect(end).toBe('reset');
  });

  it('a connection of nginx in front that strangers used first carries a ticket, and one that was refused, too', async () => {
    const site = await startSite();
    const port = await freePort();
    const front = await startNginx(`
    location / {
      proxy_pass http://pool;
      proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $http_connection;
    }
  }
  upstream pool { server 127.0.0.1:${port}; keepalive 1;`);
    const url = `ws://127.0.0.1:${front.port}`;
    const relay = await startRelay({ port, args: ['--decoy', `http://127.0.0.1:${site.port}`, '--url', url] });
    const secret = await invite(relay, 'alice', { allow: ['*'] });
    const { peer, relayGateKey } = decodeInvite(secret);
    const sealer = new TicketSealer(peer, relayGateKey);
    const ask = (ticket: string): Promise<string> => {
      const socket = openRaw(front.port);
      onTestFinished(() => void socket.destroy());
      socket.write(
        `GET /${ticket} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n` +
          'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
      );
      return readUntil(socket, '\r\n\r\n');
    };
    for (let round = 0; round < 5; round++) {
      expect(await curl(`http://127.0.0.1:${front.port}/`, '-H', 'Connection:')).toBe('<h1>A site</h1>\n');
      expect(await ask('A'.repeat(168))).toMatch(/^HTTP\/1\.1 404 /);
      expect(await ask(sealer.seal(FIELDS, Date.now()))).toMatch(/^HTTP\/1\.1 101 /);
    }
    await carries(await startClient(secret));
  });

  it('a valid ticket that makes no link gets the answer of the upstream, with the proof in its ETag', async () => {
    const nginx = await startSite();
    const relay = await startRelay({ args: ['--decoy', `http://127.0.0.1:${nginx.port}`] });
    const { peer, relayGateKey } = decodeInvite(relay.invite ?? '');
    const sealer = new TicketSealer(peer, relayGateKey);
    const ticket = sealer.seal(FIELDS, Date.now());
    const request = `GET /${ticket} HTTP/1.0\r\nHost: a\r\n\r\n`;
    const { bytes } = await rawExchange(relay.port, request);
    expect(sealer.refusalIn(/^ETag: (.*)$/m.exec(bytes)?.[1] ?? '', ticket)?.reason).toBe('upgrade-dropped');
    const plain = (text: string) => text.replace(/^(ETag|Date): .*\r\n/gm, '');
    const again = await rawExchange(relay.port, request);
    expect(again.bytes).not.toContain('ETag');
    expect(plain(bytes)).toBe(plain(again.bytes));
    expect(bytes).toContain('404 Not Found');
  });

  it('a client whose clock is wrong by two hours connects, corrected by the proof in an answer of the upstream', async () => {
    const nginx = await startSite();
    const relay = await startRelay({ args: ['--decoy', `http://127.0.0.1:${nginx.port}`] });
    const secret = await invite(relay, 'alice', { allow: ['*'] });
    await carries(await startClient(secret, { env: await wrongClock(-7_200) }));
    expect(relay.process.stderr).toContain('a ticket of alice is');
  });

  it('without its upstream, a relay answers 502 as nginx does, logs it once, and lets clients in', async () => {
    const relay = await startRelay({ args: ['--decoy', `http://127.0.0.1:${await closedPort()}`] });
    for (let i = 0; i < 3; i++) {
      const { bytes, end } = await rawExchange(relay.port, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n');
      expect([bytes.split('Date')[0], end]).toEqual(['HTTP/1.1 502 Bad Gateway\r\nServer: nginx\r\n', 'fin']);
      expect(bytes).toContain('<center><h1>502 Bad Gateway</h1></center>');
    }
    expect(await curl(`http://127.0.0.1:${relay.port}/`, '-I', '-w', '%{http_code}')).toMatch(/502$/);
    expect(relay.process.stderr.split('the site of --decoy cannot be reached').length).toBe(2);
    await carries(await startClient(await invite(relay, 'alice', { allow: ['*'] })));
  });
});

describe('a relay with --decoy DIR', () => {
  it('visitors see the files of a directory and nothing beside them, and a client gets in', async () => {
    const outside = await tempDir();
    const root = join(outside, 'site');
    await mkdir(join(root, 'folder'), { recursive: true });
    await mkdir(join(root, 'empty'));
    await writeFile(join(outside, 'secret'), 'secret');
    await writeFile(join(root, 'index.html'), '<h1>A site</h1>\n');
    await writeFile(join(root, '404.html'), '<h1>No such page</h1>\n');
    await writeFile(join(root, 'folder', 'index.html'), 'folder');
    await writeFile(join(root, 'a b?#%.txt'), 'odd');
    await writeFile(join(root, '.htpasswd'), 'dot');
    await symlink(join(outside, 'secret'), join(root, 'link'));
    await symlink(outside, join(root, 'up'));
    await symlink(join(root, 'index.html'), join(root, 'home'));
    const relay = await startRelay({ args: ['--decoy', root] });
    const get = async (path: string, ...args: readonly string[]): Promise<string> =>
      await curl(`http://127.0.0.1:${relay.port}${path}`, '--path-as-is', '-w', ' %{http_code}', ...args);
    expect(await get('/')).toBe('<h1>A site</h1>\n 200');
    expect(await get('/home')).toBe('<h1>A site</h1>\n 200');
    expect(await get('/folder/')).toBe('folder 200');
    expect(await get('/folder')).toMatch(/ 301$/);
    expect(await get('/a%20b%3F%23%25.txt')).toBe('odd 200');
    expect(await get('/index.html', '-r', '4-9')).toBe('A site 206');
    expect(await get('/index.html', '-r', '400-')).toMatch(/ 416$/);
    expect(await get('/', '-I')).toMatch(/Content-Length: 16\r\n.* 200$/s);
    const etag = /ETag: (.*)\r/.exec(await get('/', '-I'))?.[1];
    expect(await get('/', '-H', `If-None-Match: ${etag}`)).toBe(' 304');
    expect(await get('/', '-d', 'body')).toMatch(/ 405$/);
    const missing = [
      '/missing',
      '/.htpasswd',
      '/link',
      '/up/secret',
      '/../secret',
      '/%2e%2e/secret',
      '/empty/',
      '/empty',
      '/up/',
      '/..%2fsecret',
      '/%00',
    ];
    for (const path of missing) expect([path, await get(path)]).toEqual([path, '<h1>No such page</h1>\n 404']);
    expect(await curl(`http://127.0.0.1:${relay.port}`, '--request-target', 'http://elsewhere/folder/')).toBe('folder');
    await carries(await startClient(await invite(relay, 'alice', { allow: ['*'] })));
  });

  it('a directory that does not exist, and a URL with a path, end the start with what to do', async () => {
    for (const decoy of ['/no/such/directory', 'http://127.0.0.1:80/path', 'ftp://127.0.0.1']) {
      const process = new WstunProcess([
        'relay',
        '--listen',
        '127.0.0.1:0',
        '--state',
        await tempDir(),
        '--decoy',
        decoy,
      ]);
      expect(await process.exited).toBe(2);
      expect(process.stderr).toMatch(/--decoy.*WSTUN-E101/s);
    }
  });
});

describe('a flood', () => {
  it.each(['URL', 'DIR'])(
    'visitors who open six connections each and stay are not cut, and a client gets in beside a flood, with --decoy %s',
    async (kind) => {
      const nginx = await startSite();
      const state = await tempDir();
      await writeFile(join(state, 'limits.toml'), 'pending = 60\nvisitors = 40\n');
      const relay = await startRelay({
        state,
        args: ['--decoy', kind === 'URL' ? `http://127.0.0.1:${nginx.port}` : nginx.root],
      });
      const secret = await invite(relay, 'alice', { allow: ['*'] });
      const open = async (text: string): Promise<Socket> => {
        const socket = openRaw(relay.port);
        socket.on('error', () => {});
        onTestFinished(() => void socket.destroy());
        await once(socket, 'connect');
        socket.write(text);
        return socket;
      };
      const page = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';
      const visitors = await Promise.all(Array.from({ length: 6 }, () => open(page)));
      await Promise.all(visitors.map((socket) => readUntil(socket, 'A site')));
      // Of silent connections, of heads that do not end, and of visitors who stay: many more than there is room for.
      for (let i = 0; i < 150; i++) void open(['', 'GET /slow HTTP/1.1\r\n', page][i % 3] ?? '');
      const begun = performance.now();
      await carries(await startClient(secret));
      expect(performance.now() - begun).toBeLessThan(10_000);
      // A new visitor is served, too, if he tries again, as browsers do.
      const isServed = async (): Promise<boolean> =>
        (await rawExchange(relay.port, page.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n'))).bytes.includes(
          'A site',
        );
      while (!(await isServed())) expect(performance.now() - begun).toBeLessThan(20_000);
    },
  );
});
