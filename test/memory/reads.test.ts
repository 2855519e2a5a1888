/** What the program takes for granted of the memory that Node reads into, on the release at hand. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, connect as tlsConnect } from 'node:tls';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { expectPlainReads, isOwned, own, ownRead, release, watchMemory } from '../../src/memory/pieces.ts';
import { poison } from '../support/memory/poison.ts';
import { makeCertificate } from '../support/programs/certificate.ts';
import { atEnd } from '../support/scope.ts';

/** Nearly fills the 64 KiB of a read. */
const MOST_OF_A_READ = 50_000;

async function portOf(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  atEnd(() => server.close());
  return (server.address() as AddressInfo).port;
}

describe('Memory that Node reads into', () => {
  beforeEach(() => watchMemory(undefined));
  afterEach(() => {
    watchMemory(poison);
    expectPlainReads(false);
  });

  it('memory of a read with an unused part is given back only if no TLS socket can be using that part', () => {
    const memory = (): Buffer => Buffer.allocUnsafeSlow(65_536);
    expect(isOwned(ownRead(memory().subarray(0, MOST_OF_A_READ)))).toBe(false);
    expectPlainReads(true);
    const canGiveBack = isOwned(own(memory()));
    expect(isOwned(ownRead(memory().subarray(0, MOST_OF_A_READ)))).toBe(canGiveBack);
    expect(isOwned(ownRead(memory().subarray(0, 16_384)))).toBe(false);
    expect(isOwned(ownRead(memory().subarray(100)))).toBe(false);
  });

  it('memory of a plain socket’s read can be given back while TLS sockets are read', async () => {
    const { cert, key } = makeCertificate();
    const read: Buffer[] = [];
    const kept: Buffer[] = [];
    const plain = createServer((socket) => socket.on('data', (chunk) => void read.push(ownRead(chunk))));
    const sealed = createTlsServer({ cert, key }, (socket) => socket.on('data', (chunk) => void kept.push(chunk)));
    const near: Socket = connect(await portOf(plain), '127.0.0.1');
    const far = tlsConnect({ port: await portOf(sealed), host: '127.0.0.1', ca: cert });
    atEnd(() => [near.destroy(), far.destroy()]);
    await Promise.all([once(near, 'connect'), once(far, 'secureConnect')]);
    for (let round = 1; round <= 20; round++) {
      near.write(Buffer.alloc(MOST_OF_A_READ, 1));
      await expect.poll(() => read.length).toBeGreaterThan(0);
      far.write(Buffer.alloc(100, 2));
      await expect.poll(() => kept.length).toBe(round);
      for (const chunk of read.splice(0)) release(chunk);
    }
    expect(kept.every((chunk) => chunk.length === 100 && chunk.every((byte) => byte === 2))).toBe(true);
  });
});
