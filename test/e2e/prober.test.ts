/**
 * A prober asks a relay with `--decoy URL`, and the nginx behind it, the same: no difference in bytes, order, status or
 * in how connections end may show which is which. Masked is only the date.
 */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { beforeAll, describe, expect, it } from 'vitest';
import { decodeInvite } from '../../src/crypto/invite.ts';
import { createIdentity } from '../../src/crypto/keys.ts';
import { HTTP_FEATURE, type TicketFields, TicketSealer } from '../../src/crypto/ticket.ts';
import { encodeRequest } from '../../src/transport/http/link-requests.ts';
import { makeCertificate } from '../support/programs/certificate.ts';
import { type Nginx, startNginx } from '../support/programs/nginx.ts';
import { freePort } from '../support/programs/programs.ts';
import { type RunningRelay, startRelay } from '../support/programs/wstun-stack.ts';
import { openRaw, readUntil, withoutDate } from '../support/proxy/raw-http.ts';
import { tempDir } from '../support/temp-dir.ts';

const FIELDS: TicketFields = { role: 'client', destination: '', protocol: 1, features: 0 };
const HOST = 'Host: www.example.org';
/** So short that a test can wait for them. */
const NGINX = `
    keepalive_timeout 1s;
    client_header_timeout 1s;
    client_body_timeout 1s;
    lingering_timeout 1s;
    large_client_header_buffers 4 8k;
    error_page 404 /404.html;
    location /old/ { return 301 /new/; }
    location /teapot { return 418; }
    location /gone { return 444; }
    location /private/ { deny all; }`;

let nginx: Nginx;
let relay: RunningRelay;
let sealer: TicketSealer;
/** Stolen by the prober when it passed. */
let used: string;

beforeAll(async () => {
  nginx = await startNginx(NGINX);
  await mkdir(join(nginx.root, 'folder'));
  await writeFile(join(nginx.root, 'index.html'), '<h1>A site</h1>\n');
  await writeFile(join(nginx.root, '404.html'), '<h1>No such page</h1>\n');
  await writeFile(join(nginx.root, 'style.css'), 'body { margin: 0 }\n'.repeat(400));
  await writeFile(join(nginx.root, 'big.bin'), Buffer.alloc(3 * 1024 * 1024, 'big'));
  relay = await startRelay({ args: ['--decoy', `http://127.0.0.1:${nginx.port}`] });
  const { peer, relayGateKey } = decodeInvite(relay.invite ?? '');
  sealer = new TicketSealer(peer, relayGateKey);
  used = sealer.seal(FIELDS, Date.now());
  const socket = openRaw(relay.port);
  socket.write(upgrade(used));
  expect(await readUntil(socket, '\r\n\r\n')).toMatch(/^HTTP\/1\.1 101 /);
  socket.destroy();
});

function head(line: string, ...headers: readonly string[]): string {
  return `${[line, ...headers].join('\r\n')}\r\n\r\n`;
}

function upgrade(ticket: string, ...more: readonly string[]): string {
  const key = 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==';
  const fields = ['Upgrade: websocket', 'Connection: Upgrade', 'Sec-WebSocket-Version: 13', key];
  return head(`GET /${ticket} HTTP/1.1`, HOST, ...fields, ...more);
}

const flip = (ticket: string, at: number): string =>
  ticket.slice(0, at) + (ticket[at] === 'A' ? 'B' : 'A') + ticket.slice(at + 1);

/** Bytes to send, and texts to wait for before the next ones. `end`: half-closes. */
type Step = string | Buffer | { readonly until: string } | { readonly end: true };

interface Answer {
  readonly said: string;
  readonly ending: 'fin' | 'reset' | 'open';
}

async function ask(port: number, steps: readonly Step[], limitMs = 4_000): Promise<Answer> {
  const socket = openRaw(port).setNoDelay(true);
  socket.allowHalfOpen = true;
  const chunks: Buffer[] = [];
  const said = (): string => Buffer.concat(chunks).toString('latin1');
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  const ended = new Promise<Answer['ending']>((resolve) => {
    socket.once('end', () => resolve('fin'));
    socket.once('error', () => resolve('reset'));
    setTimeout(() => resolve('open'), limitMs).unref();
  });
  await once(socket, 'connect');
  for (const step of steps) {
    if (typeof step === 'string') socket.write(step, 'latin1');
    else if (Buffer.isBuffer(step)) socket.write(step);
    else if ('end' in step) socket.end();
    else
      while (!said().includes(step.until))
        if (await Promise.race([once(socket, 'data').then(() => false), ended])) break;
  }
  const ending = await ended;
  socket.destroy();
  return { said: withoutDate(said()), ending };
}

/** The same of both; at once, so that both have the same second. */
async function expectSame(probes: Readonly<Record<string, readonly Step[]>>): Promise<void> {
  const names = Object.keys(probes);
  const asked = (port: number) => Promise.all(Object.values(probes).map((steps) => ask(port, steps)));
  const [here, there] = await Promise.all([asked(relay.port), asked(nginx.port)]);
  const named = (answers: readonly Answer[]) => Object.fromEntries(names.map((name, at) => [name, answers[at]]));
  expect(named(here)).toEqual(named(there));
}

const get = (path: string, ...fields: readonly string[]): string => head(`GET ${path} HTTP/1.1`, HOST, ...fields);
const last = (path: string, ...fields: readonly string[]): string => get(path, ...fields, 'Connection: close');

describe('a relay with --decoy URL, and the nginx behind it', () => {
  it('a prober gets the same of both for what is HTTP', async () => {
    await expectSame({
      page: [last('/')],
      missing: [last('/missing')],
      HEAD: [head('HEAD / HTTP/1.1', HOST, 'Connection: close')],
      'HEAD of nothing': [head('HEAD /missing HTTP/1.1', HOST, 'Connection: close')],
      OPTIONS: [head('OPTIONS * HTTP/1.1', HOST, 'Connection: close')],
      'OPTIONS of a page': [head('OPTIONS / HTTP/1.1', HOST, 'Connection: close')],
      TRACE: [head('TRACE / HTTP/1.1', HOST, 'Connection: close')],
      DELETE: [head('DELETE / HTTP/1.1', HOST, 'Connection: close')],
      'an unknown method': [head('BREW / HTTP/1.1', HOST, 'Connection: close')],
      CONNECT: [head('CONNECT example.org:443 HTTP/1.1', 'Host: example.org:443')],
      'absolute form': [head('GET http://elsewhere.example/style.css HTTP/1.1', HOST, 'Connection: close')],
      'HTTP/1.0': [head('GET / HTTP/1.0')],
      'HTTP/0.9': ['GET /\r\n'],
      'HTTP/2': ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
      'HTTP/3.0': [head('GET / HTTP/3.0', HOST)],
      'no host': [head('GET / HTTP/1.1')],
      'two hosts': [head('GET / HTTP/1.1', HOST, HOST)],
      redirect: [last('/old/')],
      status: [last('/teapot')],
      'a path that is closed': [get('/gone')],
      forbidden: [last('/private/')],
      'a directory without a slash': [last('/folder')],
      'a directory without a page': [last('/folder/')],
      'a path out of the site': [last('/../../etc/passwd')],
      'a range': [last('/style.css', 'Range: bytes=10-19')],
      'two ranges': [last('/style.css', 'Range: bytes=5000-5001')],
      'the last bytes': [last('/style.css', 'Range: bytes=-7')],
      'no range': [last('/style.css', 'Range: bytes=999999-')],
      'not modified': [last('/style.css', 'If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT')],
      'if-match': [last('/style.css', 'If-Match: "x"')],
      'three megabytes': [last('/big.bin')],
      'a body': [head('POST / HTTP/1.1', HOST, 'Connection: close', 'Content-Length: 5'), 'hello'],
      'a body in chunks': [
        head('POST / HTTP/1.1', HOST, 'Connection: close', 'Transfer-Encoding: chunked'),
        '5\r\nhello\r\n0\r\n\r\n',
      ],
      'a body too large': [head('POST / HTTP/1.1', HOST, 'Content-Length: 99999999')],
      'Expect: 100-continue': [head('PUT /x HTTP/1.1', HOST, 'Content-Length: 5', 'Expect: 100-continue')],
    });
  });

  it('a prober gets the same of both for what is no HTTP, or malformed', async () => {
    await expectSame({
      'an empty connection': [],
      'an empty connection that ends': [{ end: true }],
      'an SSH banner': ['SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n'],
      '512 random bytes': [randomBytes(512)],
      '128 times FF': [Buffer.alloc(128, 0xff)],
      zeros: [Buffer.alloc(300)],
      'a ClientHello': [Buffer.from('160301002a0100002603036b', 'hex')],
      SOCKS5: [Buffer.from('05020002', 'hex')],
      'a line feed alone': ['GET / HTTP/1.1\nHost: a\nConnection: close\n\n'],
      'a carriage return alone': ['GET / HTTP/1.1\rHost: a\r\r'],
      'empty lines first': [`\r\n\r\n${last('/')}`],
      'a line without a colon': [head('GET / HTTP/1.1', HOST, 'nonsense')],
      'a field with a NUL': [head('GET / HTTP/1.1', 'Host: a\0b')],
      'an empty field name': [head('GET / HTTP/1.1', HOST, ': x')],
      'a folded field': [head('GET / HTTP/1.1', HOST, 'A: b', ' c')],
      'a bad version': [head('GET / HTTP/x.y', HOST)],
      'a lower-case method': [head('get / HTTP/1.1', HOST)],
      'a long target': [last(`/${'x'.repeat(9_000)}`)],
      'a long field': [last('/', `A: ${'x'.repeat(9_000)}`)],
      'a long head': [last('/', ...Array.from({ length: 40 }, (_, at) => `A${at}: ${'x'.repeat(1_000)}`))],
      'a bad length': [head('POST / HTTP/1.1', HOST, 'Content-Length: x')],
      'two lengths': [head('POST / HTTP/1.1', HOST, 'Content-Length: 1', 'Content-Length: 2')],
      'a length and chunks': [head('POST / HTTP/1.1', HOST, 'Content-Length: 1', 'Transfer-Encoding: chunked')],
      'a bad chunk': [head('POST / HTTP/1.1', HOST, 'Transfer-Encoding: chunked'), 'zz\r\n'],
      'a slow head': ['GET / HTTP/1.1\r\nHos'],
      'half a request line': [`GET /${used.slice(0, 80)}`],
      'a slow body': [head('POST / HTTP/1.1', HOST, 'Content-Length: 5'), 'he'],
      'a half-close after the request': [get('/'), { end: true }],
      'a half-close in the head': ['GET / HT', { end: true }],
    });
  });

  it('a prober gets the same of both for requests one after another', async () => {
    await expectSame({
      'keep-alive': [get('/'), { until: 'site' }, get('/missing'), { until: 'No such' }, last('/style.css')],
      'keep-alive until the time-out': [get('/')],
      'three at once': [get('/') + get('/missing') + last('/style.css')],
      'garbage behind a request': [`${get('/')}\0\0\0\r\n\r\n`],
      'a body, and a request': [`${head('POST /x HTTP/1.1', HOST, 'Content-Length: 5')}hello${last('/')}`],
      'a request, byte by byte': [...last('/')],
      'two upgrades': [upgrade('socket') + upgrade('socket', 'Connection: close')],
    });
  });

  it('a prober gets the same of both for tickets: used, cut, changed, of a stranger, of another day, in other places', async () => {
    const stranger = new TicketSealer(createIdentity(), createIdentity().public.gate).seal(FIELDS, Date.now());
    const close = 'Connection: close, Upgrade';
    const fresh = () => sealer.seal(FIELDS, Date.now());
    await expectSame({
      used: [upgrade(used)],
      'used, and closed': [upgrade(used, close)],
      'used, with frames behind it': [`${upgrade(used)}\x82\x80\0\0\0\0`],
      'used, as a page': [last(`/${used}`)],
      'used, as POST': [head(`POST /${used} HTTP/1.1`, HOST, 'Content-Length: 5', 'Connection: close'), 'hello'],
      'used, in two parts': [upgrade(used).slice(0, 120), { until: '' }, upgrade(used).slice(120)],
      'used, on a connection of before': [get('/'), { until: 'site' }, upgrade(used)],
      'cut at the end': [upgrade(fresh().slice(0, -1))],
      'cut at the front': [upgrade(fresh().slice(1))],
      'hint changed': [upgrade(flip(fresh(), 3))],
      'nonce changed': [upgrade(flip(fresh(), 30))],
      'box changed': [upgrade(flip(fresh(), 100))],
      'of a stranger': [upgrade(stranger)],
      'of yesterday': [upgrade(sealer.seal(FIELDS, Date.now() - 86_400_000))],
      'of zeros': [upgrade('A'.repeat(168))],
      'in the query': [upgrade(`?${fresh()}`)],
      'with an origin': [upgrade(fresh(), 'Origin: https://www.example.org')],
      'of HTTP/1.0 and used': [head(`GET /${used} HTTP/1.0`)],
      'with a malformed field': [upgrade(fresh(), 'nonsense')],
    });
  });

  it('a prober gets the same of both for requests of an HTTP link: repeated, altered, of a link that is over', async () => {
    const ticket = sealer.seal({ ...FIELDS, features: HTTP_FEATURE }, Date.now());
    const key = sealer.httpLinkKey(ticket);
    const segment = (sequence: number): string =>
      key.seal(encodeRequest({ kind: 'up', sequence, offset: 0, received: 0, waitMs: 0 }));
    const post = (path: string): string => `${head(`POST /${path} HTTP/1.1`, HOST, 'Content-Length: 5')}hello`;
    const opening = openRaw(relay.port);
    opening.write(get(`/${ticket}`));
    expect(await readUntil(opening, '\r\n\r\n')).toMatch(/^HTTP\/1\.1 200 OK/);
    const sent = segment(1);
    // An empty body: nothing of a link.
    const { said } = await ask(relay.port, [head(`POST /${sent} HTTP/1.1`, HOST, 'Content-Length: 0')]);
    expect(said).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    await expectSame({
      'the opening, repeated': [last(`/${ticket}`)],
      'the opening, as an upgrade': [upgrade(ticket)],
      'a request, repeated': [post(sent)],
      'a request, repeated as GET': [last(`/${sent}`)],
      'a request, altered': [post(flip(segment(2), 120))],
      'a request under another path': [post(`a/${segment(3)}/b`)],
      'a request with an origin': [
        head(`POST /${segment(4)} HTTP/1.1`, HOST, 'Content-Length: 0', 'Origin: https://a'),
      ],
    });
    opening.destroy();
  });

  it('over TLS a relay answers what it is asked under any name, also one that does not exist', async () => {
    const dir = await tempDir();
    const { cert, key } = makeCertificate();
    const [certFile, keyFile] = [join(dir, 'cert.pem'), join(dir, 'key.pem')];
    await writeFile(certFile, cert);
    await writeFile(keyFile, key);
    const port = await freePort();
    const site = await startNginx(
      `listen 127.0.0.1:${port} ssl; ssl_certificate ${certFile}; ssl_certificate_key ${keyFile};`,
    );
    await writeFile(join(site.root, 'index.html'), 'A site');
    const args = ['--decoy', `http://127.0.0.1:${site.port}`, '--tls-cert', certFile, '--tls-key', keyFile];
    const front = await startRelay({ args });
    const askTls = async (to: number, servername: string, bytes: string | Buffer): Promise<string> => {
      const socket = connectTls({ host: '127.0.0.1', port: to, servername, rejectUnauthorized: false });
      const chunks: Buffer[] = [];
      socket.on('data', (chunk: Buffer) => chunks.push(chunk)).on('error', () => {});
      await once(socket, 'secureConnect');
      const certificate = socket.getPeerX509Certificate()?.fingerprint;
      socket.write(bytes);
      await once(socket, 'close');
      return `${certificate} ${socket.alpnProtocol} ${withoutDate(Buffer.concat(chunks).toString('latin1'))}`;
    };
    for (const bytes of [
      last('/'),
      last('/missing'),
      'SSH-2.0-x\r\n',
      randomBytes(512),
      `GET /${used} HTTP/1.0\r\n\r\n`,
    ])
      for (const name of ['localhost', 'probe.invalid'])
        expect(await askTls(front.port, name, bytes)).toBe(await askTls(port, name, bytes));
  });

  it('200 paths are the same at both, each on a connection of its own, and none is cut', async () => {
    const paths = Array.from({ length: 200 }, (_, at) => `/${['admin', 'wp', 'api', '.git', 'x'][at % 5]}/${at}`);
    for (let at = 0; at < paths.length; at += 50)
      await expectSame(Object.fromEntries(paths.slice(at, at + 50).map((path) => [path, [last(path)]])));
  });
});
