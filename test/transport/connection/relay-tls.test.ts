import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { connect as connectTls, createServer, type TLSSocket, type TlsOptions } from 'node:tls';
import { afterEach, describe, expect, it } from 'vitest';
import type { WstunError } from '../../../src/errors.ts';
import { certificateFaultOf, RelayTls } from '../../../src/transport/connection/relay-tls.ts';
import { pinOf } from '../../../src/transport/connection/tls-pin.ts';
import { makeAuthority } from '../../support/programs/authority.ts';
import { VirtualClock } from '../../support/time/virtual-clock.ts';

const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup();
});

const company = makeAuthority('/O=Zscaler Inc./CN=Zscaler Intermediate Root CA');
const other = makeAuthority('/O=Example\u0007Corp/CN=Example Root');
const relay = company.issue('DNS:relay.example,IP:127.0.0.1');
const pin = pinOf(new X509Certificate(relay.cert)) ?? '';
const otherPin = pinOf(new X509Certificate(other.cert)) ?? '';

/** Answers what comes in, and counts it. The answer comes after the session tickets. */
async function serve(options: TlsOptions) {
  const received: Buffer[] = [];
  const names: (string | false | null)[] = [];
  const server = createServer(options, (socket: TLSSocket) => {
    names.push(socket.servername);
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      received.push(chunk);
      socket.write('!');
    });
  });
  server.on('tlsClientError', () => {});
  await once(server.listen(0, '127.0.0.1'), 'listening');
  cleanups.push(() => server.close());
  return { port: (server.address() as AddressInfo).port, received, names };
}

interface Outcome {
  readonly fault?: WstunError | undefined;
  readonly resumed?: boolean;
  readonly protocol?: string | null;
}

/** Connects, writes a secret at once, and says what came of it. */
async function connect(tls: RelayTls, port: number, host = 'relay.example', clock = wallClock()): Promise<Outcome> {
  const place = { host, port, where: `${host}:${port}` };
  const socket = tls.connect({ host: '127.0.0.1', port, ALPNProtocols: ['http/1.1'] }, place, clock);
  cleanups.push(() => socket.destroy());
  socket.write('secret');
  await new Promise<void>((resolve) => {
    socket.on('error', () => {});
    socket.once('data', () => resolve()).once('close', () => resolve());
  });
  const fault = certificateFaultOf(socket);
  if (fault !== undefined) return { fault };
  const outcome = { resumed: socket.isSessionReused(), protocol: socket.getProtocol() };
  socket.destroy();
  return outcome;
}

const wallClock = (): VirtualClock => new VirtualClock({ wallTime: Date.now() });

describe('which certificates RelayTls accepts', () => {
  it.each([
    ['of an authority that was given', { ca: [company.cert] }],
    ['with a pin of the invite', { pins: [otherPin, pin] }],
    ['with a pin of the invite, without end-to-end encryption', { pins: [pin], unsealed: true }],
    ['with a pin that was given', { onlyPins: [pin] }],
  ])('RelayTls accepts a certificate %s', async (_what, options) => {
    const { port } = await serve(relay);
    expect(await connect(new RelayTls(options), port)).toMatchObject({ resumed: false });
  });

  it.each([
    ['whose authority is not known', 'tls-inspected', {}],
    [
      'of an authority that was given, without end-to-end encryption',
      'tls-inspected',
      { ca: [company.cert], unsealed: true },
    ],
    [
      'with none of the pins that were given, of a trusted authority',
      'relay-other-key',
      { ca: [company.cert], onlyPins: [otherPin] },
    ],
    [
      'with none of the pins that were given, but one of the invite',
      'relay-other-key',
      { pins: [pin], onlyPins: [otherPin] },
    ],
    ['with none of the pins of the invite', 'tls-inspected', { pins: [otherPin] }],
  ])('RelayTls rejects a certificate %s, and sends nothing (%s)', async (_what, fault, options) => {
    const { port, received } = await serve(relay);
    const outcome = await connect(new RelayTls(options), port);
    expect(outcome.fault?.fault).toBe(fault);
    expect(Buffer.concat(received).toString()).toBe('');
  });

  it('RelayTls accepts a pinned key under another name', async () => {
    const { port } = await serve(relay);
    expect((await connect(new RelayTls({ pins: [pin] }), port, 'elsewhere.example')).fault).toBeUndefined();
    const trusting = new RelayTls({ ca: [company.cert] });
    expect((await connect(trusting, port, 'elsewhere.example')).fault).toMatchObject({
      fault: 'relay-other-name',
      detail: `elsewhere.example:${port}: it is for relay.example, 127.0.0.1, not for elsewhere.example`,
    });
  });

  it('RelayTls accepts a certificate for the name that --sni gives, but not without end-to-end encryption', async () => {
    const { port, names } = await serve(relay);
    const wishes = { ca: [company.cert], sni: 'relay.example' };
    expect((await connect(new RelayTls(wishes), port, 'hidden.example')).fault).toBeUndefined();
    expect(names).toEqual(['relay.example']);
    const pinned = new RelayTls({ ...wishes, pins: [pin], unsealed: true });
    expect((await connect(pinned, port, 'hidden.example')).fault).toBeUndefined();
    expect((await connect(new RelayTls({ ...wishes, unsealed: true }), port, 'hidden.example')).fault).toBeDefined();
  });

  it('RelayTls sends no server name where none is wanted, nor for an address', async () => {
    const { port, names } = await serve(relay);
    await connect(new RelayTls({ ca: [company.cert], sni: '' }), port);
    await connect(new RelayTls({ ca: [company.cert] }), port, '127.0.0.1');
    expect(names).toEqual([false, false]);
  });

  it('RelayTls shows a client certificate to a server that demands one', async () => {
    const { cert, key } = other.issue('DNS:laptop.example');
    const { port } = await serve({ ...relay, requestCert: true, rejectUnauthorized: true, ca: other.cert });
    const identified = new RelayTls({ ca: [company.cert], identity: { cert, key } });
    expect(await connect(identified, port)).toMatchObject({ resumed: false });
  });
});

describe('TLS sessions', () => {
  const versions = ['TLSv1.2', 'TLSv1.3'] as const;

  it('later links to a relay resume the session of the first (TLSv1.2)', async () => {
    expect(await resumptions('TLSv1.2')).toEqual([false, true, true, true]);
  });

  it('later links to a relay resume a session of the first, each a ticket of its own (TLSv1.3)', async () => {
    // Node sends two tickets in a full handshake, and none in a resumed one.
    expect(await resumptions('TLSv1.3')).toEqual([false, true, true, false]);
  });

  async function resumptions(maxVersion: 'TLSv1.2' | 'TLSv1.3'): Promise<unknown[]> {
    const { port } = await serve({ ...relay, maxVersion });
    const tls = new RelayTls({ ca: [company.cert] });
    const seen: unknown[] = [];
    for (let i = 0; i < 4; i++) seen.push((await connect(tls, port)).resumed);
    return seen;
  }

  it.each(versions)('a link to a pinned relay without a trusted certificate is resumed (%s)', async (maxVersion) => {
    const { port } = await serve({ ...relay, maxVersion });
    const tls = new RelayTls({ pins: [pin] });
    await connect(tls, port);
    expect(await connect(tls, port)).toEqual({ resumed: true, protocol: maxVersion });
  });

  it.each(versions)(
    'no session is resumed under other settings, for another name, or of a rejected one (%s)',
    async (maxVersion) => {
      const { port } = await serve({ ...relay, maxVersion });
      const tls = new RelayTls({ pins: [pin] });
      await connect(tls, port);
      expect((await connect(new RelayTls({}), port)).fault).toBeDefined();
      expect(await connect(tls, port, 'second.example')).toMatchObject({ resumed: false });
      const wary = new RelayTls({});
      for (let i = 0; i < 2; i++) expect((await connect(wary, port)).fault).toBeDefined();
    },
  );

  it('a session is not resumed a day after its certificate was checked', async () => {
    const { port } = await serve({ ...relay, maxVersion: 'TLSv1.2' });
    const clock = wallClock();
    const tls = new RelayTls({ pins: [pin] });
    await connect(tls, port, 'relay.example', clock);
    const checked = clock.wallTime();
    clock.setWallTime(checked + 86_000_000);
    expect(await connect(tls, port, 'relay.example', clock)).toMatchObject({ resumed: true });
    clock.setWallTime(checked + 86_400_001);
    expect(await connect(tls, port, 'relay.example', clock)).toMatchObject({ resumed: false });
  });

  it('a server that has forgotten its sessions is accepted by its certificate', async () => {
    const first = await serve(relay);
    const tls = new RelayTls({ pins: [pin] });
    await connect(tls, first.port);
    const forwarding = await serve(relay);
    // The same place with another server: only the port tells places apart here.
    const place = { host: 'relay.example', port: first.port, where: '' };
    const socket = tls.connect({ host: '127.0.0.1', port: forwarding.port }, place, wallClock());
    cleanups.push(() => socket.destroy());
    await once(socket, 'secureConnect');
    expect(socket.isSessionReused()).toBe(false);
    expect(certificateFaultOf(socket)).toBeUndefined();
  });

  it('an attempt that never connects uses no session up', async () => {
    const { port } = await serve(relay);
    const tls = new RelayTls({ pins: [pin] });
    await connect(tls, port);
    for (let i = 0; i < 3; i++) {
      const socket = tls.connect({ host: '127.0.0.1', port }, { host: 'relay.example', port, where: '' }, wallClock());
      socket.destroy();
      await once(socket, 'close');
    }
    expect(await connect(tls, port)).toMatchObject({ resumed: true });
  });

  it('a plain client of Node does not accept the certificates of these tests', async () => {
    const { port } = await serve(relay);
    const socket = connectTls({ host: '127.0.0.1', port, servername: 'relay.example' });
    const [error] = await once(socket, 'error');
    expect(error.code).toMatch(/UNABLE_TO/);
  });
});
