import { X509Certificate } from 'node:crypto';
import { createServer as createHttpServer, type RequestListener } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { type AddressInfo, createServer as createTcpServer, type Server, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { WebSocketServer } from 'ws';
import { type FaultName, WstunError } from '../../../src/errors.ts';
import { RelayRefused } from '../../../src/transport/answer-faults.ts';
import { RelayAddresses } from '../../../src/transport/connection/relay-addresses.ts';
import type { Lookup } from '../../../src/transport/connection/tcp-dial.ts';
import { pinOf } from '../../../src/transport/connection/tls-pin.ts';
import { type DialWebSocketOptions, dialWebSocket } from '../../../src/transport/websocket/websocket-dial.ts';
import { turns } from '../../support/links/link-recorder.ts';
import { trusting } from '../../support/links/trusting.ts';
import { startLinkServer } from '../../support/links/websocket-pair.ts';
import { closedPort } from '../../support/net/tcp.ts';
import { makeCertificate } from '../../support/programs/certificate.ts';

const TICKET = 'a-ticket-nobody-may-see';
const cleanups: (() => void)[] = [];

afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup();
});

async function listen(server: Server): Promise<number> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => sockets.add(socket.on('error', () => undefined)));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanups.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

const answering = (answer: RequestListener): Promise<number> => listen(createHttpServer(answer));
const speaking = (talk: (socket: Socket) => void): Promise<number> => listen(createTcpServer(talk));

async function faultOf(url: string, options: Partial<DialWebSocketOptions> = {}): Promise<WstunError> {
  const signal = AbortSignal.timeout(15_000);
  const error: unknown = await dialWebSocket(new URL(`${url}/${TICKET}`), { signal, ...options }).then(
    (link) => link.abort(),
    (reason: unknown) => reason,
  );
  if (!(error instanceof WstunError)) throw new Error('the dial was to fail with a WstunError', { cause: error });
  expect(`${error.message} ${error.stack} ${JSON.stringify(error)} ${String(error.cause)}`).not.toContain(TICKET);
  return error;
}

describe('a relay that refuses the dial', () => {
  it('only HTTP 404 makes a dial fail with relay-refused, which has the time of the server', async () => {
    const port = await answering((_request, response) => {
      response.writeHead(404, { Date: 'Tue, 24 Nov 2026 10:00:00 GMT' }).end('no');
    });
    const fault = await faultOf(`ws://127.0.0.1:${port}`);
    expect(fault).toBeInstanceOf(RelayRefused);
    expect([fault.fault, (fault as RelayRefused).relayTime]).toEqual(['relay-refused', Date.UTC(2026, 10, 24, 10)]);
  });

  it.each(['', 'yesterday'])('relay-refused has no time if the Date header is %j', async (date) => {
    const port = await answering((_request, response) => {
      response.sendDate = false;
      response.writeHead(404, date === '' ? {} : { Date: date }).end();
    });
    expect(((await faultOf(`ws://127.0.0.1:${port}`)) as RelayRefused).relayTime).toBeUndefined();
  });
});

describe('a dial with an unexpected answer', () => {
  it.each([
    [200, ': this is a web page, not a relay; open it in a browser'],
    [302, ': it redirects to http://127.0.0.1:1/: open that in a browser'],
    [401, ': it requires a login, which --header can give'],
    [403, ': a filter, or a web server in front of the relay, forbids the connection'],
    [407, ': a proxy on the way requires a user name and password'],
    [418, ''],
    [502, ': the proxy in front answers, but the relay behind it does not'],
  ])('a dial names the status of an unexpected answer and is not relay-refused: %i', async (status, meaning) => {
    const port = await answering((_request, response) => {
      response.writeHead(status, { Location: `http://127.0.0.1:1/portal?from=${TICKET}` }).end('hello');
    });
    const fault = await faultOf(`ws://127.0.0.1:${port}`);
    expect([fault.fault, fault.detail]).toEqual(['relay-odd-answer', `127.0.0.1:${port}: HTTP ${status}${meaning}`]);
  });

  it.each([
    ['not HTTP', 'SSH-2.0-OpenSSH_9.2\r\n'],
    [
      'not a WebSocket',
      'HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n',
    ],
    ['not a WebSocket', 'HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n'],
    ['not HTTP', `HTTP/1.1 200 OK\r\nX: ${'x'.repeat(70_000)}\r\n\r\n`],
  ])('a dial reports an answer that is %s', async (what, answer) => {
    const port = await speaking((socket) => socket.once('data', () => socket.write(answer)));
    const fault = await faultOf(`ws://127.0.0.1:${port}`);
    expect([fault.fault, fault.detail]).toEqual(['relay-odd-answer', `127.0.0.1:${port}: the answer is ${what}`]);
  });

  it('a dial over wss:// reports an answer in plain HTTP', async () => {
    const port = await answering((_request, response) => response.end());
    const fault = await faultOf(`wss://127.0.0.1:${port}`);
    expect([fault.fault, fault.detail]).toEqual(['relay-odd-answer', `127.0.0.1:${port}: the answer is not TLS`]);
  });

  it('a dial rejects an upgrade with deflate, which it did not offer', async () => {
    const server = createHttpServer();
    server.on('upgrade', (request, socket, head) => {
      request.headers['sec-websocket-extensions'] = 'permessage-deflate';
      new WebSocketServer({ noServer: true, perMessageDeflate: true }).handleUpgrade(
        request,
        socket,
        head,
        () => undefined,
      );
    });
    expect((await faultOf(`ws://127.0.0.1:${await listen(server)}`)).fault).toBe('relay-odd-answer');
  });
});

describe('the certificate of a relay', () => {
  const own = makeCertificate();

  it('a dial does not trust a self-signed certificate, and shows the pin of its key', async () => {
    const port = await listen(createHttpsServer(own));
    const fault = await faultOf(`wss://127.0.0.1:${port}`);
    const pin = pinOf(new X509Certificate(own.cert));
    expect([fault.fault, fault.detail]).toEqual([
      'relay-untrusted',
      `127.0.0.1:${port}: it is self-signed; the pin of its key is ${pin}`,
    ]);
  });

  it('a dial does not accept a trusted certificate for another name, and says which it has', async () => {
    const tls = makeCertificate('DNS:other.example');
    const port = await listen(createHttpsServer(tls));
    const fault = await faultOf(`wss://127.0.0.1:${port}`, { reach: trusting(tls.cert) });
    expect([fault.fault, fault.detail]).toEqual([
      'relay-other-name',
      `127.0.0.1:${port}: it is for other.example, not for 127.0.0.1`,
    ]);
  });

  it('a relay with a trusted certificate can refuse the dial', async () => {
    const port = await listen(createHttpsServer(own, (_request, response) => response.writeHead(404).end()));
    expect((await faultOf(`wss://localhost:${port}`, { reach: trusting(own.cert) })).fault).toBe('relay-refused');
  });
});

describe('a relay that cannot be reached', () => {
  it('a dial reports that nothing listens at the port', async () => {
    const port = await closedPort();
    const fault = await faultOf(`ws://127.0.0.1:${port}`);
    expect([fault.fault, fault.detail]).toEqual(['relay-unreachable', `127.0.0.1:${port}: connection refused`]);
  });

  it('a dial reports that the name of the relay does not exist', async () => {
    const fault = await faultOf('ws://no-such-host.invalid');
    expect(fault.fault).toBe('relay-unreachable');
    expect(fault.detail).toMatch(/^no-such-host\.invalid:80: (no such name|the name server does not answer)$/);
  });

  it.each(['end', 'resetAndDestroy'] as const)(
    'a dial reports a relay that closes the connection on the request (%s)',
    async (how) => {
      const port = await speaking((socket) => socket.once('data', () => socket[how]()));
      const fault = await faultOf(`ws://127.0.0.1:${port}`);
      expect(fault.detail).toBe(`127.0.0.1:${port}: closed the connection without an answer`);
    },
  );

  it.each(['ws', 'wss'])(
    'a dial times out at a relay that accepts the connection and does not answer (%s)',
    async (scheme) => {
      const port = await speaking(() => undefined);
      const fault = await faultOf(`${scheme}://127.0.0.1:${port}`, { timeoutMs: 50 });
      expect([fault.fault, fault.detail]).toEqual(['link-slow', `127.0.0.1:${port}`]);
    },
  );

  it('a relay cannot extend the time limit of a dial by sending its answer byte by byte', async () => {
    const port = await speaking((socket) => {
      socket.write('HTTP/1.1 101 Switching\r\nX: ');
      const dribble = setInterval(() => socket.write('x'), 10);
      socket.on('close', () => clearInterval(dribble));
    });
    expect((await faultOf(`ws://127.0.0.1:${port}`, { timeoutMs: 100 })).fault).toBe('link-slow');
  });
});

describe('a relay of several addresses', () => {
  /**
   * A server at 127.0.0.2 with the port of a relay at 127.0.0.1. The relay's name has both addresses.
   */
  async function withImpostor(talk: (socket: Socket) => void) {
    const relay = await startLinkServer();
    const impostor = createTcpServer((socket) => talk(socket.on('error', () => undefined)));
    await new Promise<void>((resolve) => impostor.listen(relay.port, '127.0.0.2', resolve));
    cleanups.push(() => {
      impostor.close();
      void relay.close();
    });
    const known = new RelayAddresses();
    const lookup: Lookup = async () => ['127.0.0.2', '127.0.0.1'].map((address) => ({ address, family: 4 }));
    const dial = async (): Promise<string> => {
      const link = await dialWebSocket(new URL(`ws://relay.example:${relay.port}/${TICKET}`), {
        signal: AbortSignal.timeout(5_000),
        timeoutMs: 500,
        known,
        lookup,
      });
      link.abort();
      return link.remote;
    };
    return { dial, relay };
  }

  it.each<[string, FaultName, (socket: Socket) => void]>([
    ['refuses', 'relay-refused', (socket) => socket.end('HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n')],
    ['hangs up', 'relay-unreachable', (socket) => socket.destroy()],
    ['says nothing', 'link-slow', () => {}],
  ])('the next dial uses another address where one accepts the connection and %s', async (_how, fault, talk) => {
    const { dial, relay } = await withImpostor((socket) => socket.once('data', () => talk(socket)));
    await expect(dial()).rejects.toMatchObject({ fault });
    // From then on the first attempt succeeds.
    for (let i = 0; i < 3; i++) expect(await dial()).toBe(`127.0.0.1:${relay.port}`);
  });
});

describe('a dial that is cancelled', () => {
  it('a dial can be cancelled before it starts', async () => {
    expect((await faultOf('ws://127.0.0.1:1', { signal: AbortSignal.abort() })).fault).toBe('dial-cancelled');
  });

  it('a dial can be cancelled while the name is resolved', async () => {
    const controller = new AbortController();
    const dial = faultOf('ws://no-such-host.invalid', { signal: controller.signal });
    controller.abort();
    expect((await dial).fault).toBe('dial-cancelled');
  });

  it.each(['ws', 'wss'])(
    'a dial can be cancelled while it waits for the answer, and leaves no connection (%s)',
    async (scheme) => {
      const controller = new AbortController();
      const closed = new Promise<void>((resolve) => {
        void speaking((socket) => {
          socket.once('close', () => resolve());
          socket.once('data', () => controller.abort());
        }).then(async (port) => {
          expect((await faultOf(`${scheme}://127.0.0.1:${port}`, { signal: controller.signal })).fault).toBe(
            'dial-cancelled',
          );
        });
      });
      await closed;
    },
  );

  it('the signal of a dial has no effect on an established link', async () => {
    const server = await startLinkServer();
    const controller = new AbortController();
    const accepted = server.nextLink();
    const link = await dialWebSocket(new URL(`ws://127.0.0.1:${server.port}/`), { signal: controller.signal });
    await accepted;
    controller.abort();
    await turns(5);
    const closes: string[] = [];
    link.setHandler({ handleMessage() {}, handleDrain() {}, handleClose: ({ text }) => closes.push(text) });
    await turns(5);
    expect(closes).toEqual([]);
    expect(link.remote).toBe(`127.0.0.1:${server.port}`);
    await server.close();
  });
});
