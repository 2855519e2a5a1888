/** ClientHellos as Node's own TLS sends them, cut and recut. */
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { type ConnectionOptions, connect } from 'node:tls';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { readClientHello } from '../../src/relay/client-hello.ts';

async function helloOf(options: ConnectionOptions): Promise<Buffer> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = connect({ host: '127.0.0.1', port: (server.address() as AddressInfo).port, ...options });
  client.on('error', () => {});
  const [socket] = (await once(server, 'connection')) as [Socket];
  const [bytes] = (await once(socket, 'data')) as [Buffer];
  client.destroy();
  socket.destroy();
  server.close();
  return bytes;
}

/** The same message in records of so many bytes. */
function recut(hello: Buffer, size: number): Buffer {
  const message = hello.subarray(5);
  const records: Buffer[] = [];
  for (let at = 0; at < message.length; at += size) {
    const piece = message.subarray(at, at + size);
    records.push(Buffer.from([22, 3, 1, piece.length >> 8, piece.length & 0xff]), piece);
  }
  return Buffer.concat(records);
}

it.each<[ConnectionOptions, object]>([
  [
    { servername: 'Relay.example.org', ALPNProtocols: ['acme-tls/1'] },
    { serverName: 'relay.example.org', protocols: ['acme-tls/1'] },
  ],
  [
    { servername: 'a.example', ALPNProtocols: ['h2', 'http/1.1'] },
    { serverName: 'a.example', protocols: ['h2', 'http/1.1'] },
  ],
  [
    { servername: 'a.example', maxVersion: 'TLSv1.2' },
    { serverName: 'a.example', protocols: [] },
  ],
  [{}, { serverName: undefined, protocols: [] }],
])('a ClientHello of %j is read as %j, whole or in small records', async (options, expected) => {
  const hello = await helloOf(options);
  expect(readClientHello(hello)).toEqual(expected);
  for (const size of [1, 3, 100, 255]) expect(readClientHello(recut(hello, size))).toEqual(expected);
});

it('every beginning of a ClientHello is incomplete, and what follows it is ignored', async () => {
  const hello = await helloOf({ servername: 'a.example' });
  for (let length = 0; length < hello.length; length++)
    expect(readClientHello(hello.subarray(0, length)), `${length} bytes`).toBe('incomplete');
  expect(readClientHello(Buffer.concat([hello, hello]))).toMatchObject({ serverName: 'a.example' });
});

it.each([
  'GET / HTTP/1.1\r\n\r\n',
  'SSH-2.0-OpenSSH_9.2\r\n',
  '\u0016\u0003\u0001\u0000\u0004\u0002\u0000\u0000\u0000',
])('what begins with %j is no ClientHello', (text) => {
  expect(readClientHello(Buffer.from(text, 'latin1'))).toBe('other');
});

it('a ClientHello with any bytes changed, or random bytes, is read without an exception', async () => {
  const hello = await helloOf({ servername: 'a.example', ALPNProtocols: ['acme-tls/1'] });
  const changes = fc.array(fc.tuple(fc.nat(hello.length - 1), fc.nat(255)), { maxLength: 8 });
  fc.assert(
    fc.property(changes, (list) => {
      const bytes = Buffer.from(hello);
      for (const [at, value] of list) bytes[at] = value;
      readClientHello(bytes);
    }),
    { numRuns: 2_000 },
  );
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      const length = bytes.length;
      const head = [22, 3, 1, (length + 4) >> 8, (length + 4) & 0xff, 1, 0, length >> 8, length & 0xff];
      readClientHello(Buffer.from([...head, ...bytes]));
    }),
    { numRuns: 2_000 },
  );
});
