/**
 * Datagrams whose source port is 0: RFC 768 allows it where nobody is to answer, the kernel hands them over, and
 * whoever has a raw socket can send them, so these tests need root. No program can be ended by one.
 * @module-tag waits
 */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { runWell } from '../support/programs/programs.ts';
import type { WstunProcess } from '../support/programs/wstun-process.ts';
import { invite, spawnClient, startRelay } from '../support/programs/wstun-stack.ts';
import { atEnd } from '../support/scope.ts';

const SEND = `
import socket, struct, sys
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP)
data = bytes.fromhex(sys.argv[2])
raw.sendto(struct.pack('!HHHH', 0, int(sys.argv[1]), 8 + len(data), 0) + data, ('127.0.0.1', 0))
`;
/** A query for the A records of "localhost", which is answered at once. */
const QUERY = '000101000001000000000000096c6f63616c686f73740000010001';

const sendFromPortZero = (port: number, hex: string) => runWell('python3', ['-c', SEND, String(port), hex]);

const portOf = (bound: unknown): number => Number(String(bound).replace(/^.*:/, ''));

async function echoUdp(): Promise<{ readonly port: number; readonly heard: string[] }> {
  const socket = createSocket('udp4').bind(0, '127.0.0.1');
  atEnd(() => socket.close());
  await once(socket, 'listening');
  const heard: string[] = [];
  socket.on('message', (bytes, { port }) => {
    heard.push(bytes.toString());
    socket.send(bytes, port, '127.0.0.1');
  });
  return { port: socket.address().port, heard };
}

/** Asked from an ordinary port, until it answers. */
async function ask(port: number, bytes: Buffer): Promise<Buffer> {
  const socket = createSocket('udp4');
  const timer = setInterval(() => socket.send(bytes, port, '127.0.0.1'), 100);
  try {
    const [answer] = (await once(socket, 'message')) as [Buffer];
    return answer;
  } finally {
    clearInterval(timer);
    socket.close();
  }
}

async function portOfEvent(client: WstunProcess, event: string, field: string): Promise<number> {
  return portOf((await client.event(event))[field]);
}

describe('a datagram from port 0', { timeout: 60_000 }, () => {
  it('ends neither an exit at whose port it arrives nor the client, and others are answered', async () => {
    const relay = await startRelay();
    const target = await echoUdp();
    const secret = await invite(relay, 'tester', { allow: ['*'], listen: ['127.0.0.1:1024-65535'] });
    const client = spawnClient(secret, { args: ['-R', `0:127.0.0.1:${target.port}/udp`] });
    const port = await portOfEvent(client, 'remote-forward', 'bound');
    await sendFromPortZero(port, Buffer.from('from nobody').toString('hex'));
    expect(String(await ask(port, Buffer.from('from somebody')))).toBe('from somebody');
    expect(target.heard).toContain('from nobody');
    expect([relay.process.isRunning, client.isRunning]).toEqual([true, true]);
  });

  it('ends no client at whose forward or name server it arrives', async () => {
    const relay = await startRelay();
    const target = await echoUdp();
    const secret = await invite(relay, 'tester', { allow: ['*'] });
    const forward = ['-L', `0:127.0.0.1:${target.port}/udp`];
    const client = spawnClient(secret, { args: [...forward, '--dns-listen', '127.0.0.1:0'] });
    const [led, names] = [
      await portOfEvent(client, 'forward', 'listen'),
      await portOfEvent(client, 'dns-listening', 'listen'),
    ];
    await sendFromPortZero(led, Buffer.from('from nobody').toString('hex'));
    await sendFromPortZero(names, QUERY);
    expect(String(await ask(led, Buffer.from('from somebody')))).toBe('from somebody');
    expect((await ask(names, Buffer.from(QUERY, 'hex'))).length).toBeGreaterThan(12);
    expect(client.isRunning).toBe(true);
  });
});
