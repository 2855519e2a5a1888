import { describe, expect, it } from 'vitest';
import type { DatagramFraming } from '../../../src/proxy/udp/datagram-framing.ts';
import { HevFraming } from '../../../src/proxy/udp/hev-framing.ts';
import { uotFramingOf } from '../../../src/proxy/udp/uot-framing.ts';
import type { Target } from '../../../src/tunnel/stream/stream.ts';
import { ipTarget } from '../../support/net/targets.ts';
import { Client } from '../../support/net/tcp.ts';
import type { FakeOpener } from '../../support/proxy/fake-opener.ts';
import { proxyTo } from '../../support/proxy/proxy.ts';
import { until } from '../../support/until.ts';

const TARGET = ipTarget('192.0.2.7', 53);
const NAME: Target = { kind: 'name', name: 'example.com', port: 53 };
const HEV_REQUEST = [5, 1, 0, 5, 5, 0, 1, 0, 0, 0, 0, 0, 0];
const V1 = 'sp.udp-over-tcp.arpa';
const V2 = 'sp.v2.udp-over-tcp.arpa';

function socks5(name: string): number[] {
  return [5, 1, 0, 5, 1, 0, 3, name.length, ...Buffer.from(name), 0, 0];
}

function socks4a(name: string): number[] {
  return [4, 1, 0, 0, 0, 0, 0, 1, 0, ...Buffer.from(name), 0];
}

function framingOf(name: string): DatagramFraming {
  return uotFramingOf({ kind: 'name', name, port: 0 }) ?? new HevFraming();
}

function frame(framing: DatagramFraming, target: Target, text: string): Buffer {
  return Buffer.concat([framing.header(target, text.length), Buffer.from(text)]);
}

interface Kind {
  readonly opening: number[];
  readonly reply: string;
  readonly framing: () => DatagramFraming;
  readonly request: number[];
}

const GRANTED = '050005000001000000000000';
const KINDS: Record<string, Kind> = {
  'command 5 of hev-socks5': { opening: HEV_REQUEST, reply: GRANTED, framing: () => new HevFraming(), request: [] },
  'UDP over TCP 1': { opening: socks5(V1), reply: GRANTED, framing: () => framingOf(V1), request: [] },
  'UDP over TCP 2': {
    opening: socks5(V2),
    reply: GRANTED,
    framing: () => {
      const framing = framingOf(V2);
      framing.read(Buffer.from([0, 1, 0, 0, 0, 0, 0, 0]));
      return framing;
    },
    request: [0, 1, 0, 0, 0, 0, 0, 0],
  },
  'UDP over TCP 1 by SOCKS4a': {
    opening: socks4a(V1),
    reply: '005a000000000000',
    framing: () => framingOf(V1),
    request: [],
  },
};

async function opened({ opening, reply }: Kind): Promise<{ client: Client; opener: FakeOpener }> {
  const { port, opener } = await proxyTo(0);
  const client = new Client(port).send(opening);
  expect((await client.take(reply.length / 2)).toString('hex')).toBe(reply);
  return { client, opener };
}

describe('datagrams in a SOCKS connection', () => {
  it.each(Object.entries(KINDS))('%s: datagrams go both ways, with their addresses', async (_, kind) => {
    const { client, opener } = await opened(kind);
    const framing = kind.framing();
    client.send([...kind.request, ...frame(framing, TARGET, 'one'), ...frame(framing, NAME, 'two')]);
    await until(() => opener.associations[0]?.sent.length === 2);
    expect(opener.associations[0]?.target).toBeUndefined();
    expect(opener.associations[0]?.sent).toEqual([
      { text: 'one', to: TARGET },
      { text: 'two', to: NAME },
    ]);
    const answer = frame(framing, ipTarget('2001:db8::1', 53), 'three');
    opener.associations[0]?.answer('three', ipTarget('2001:db8::1', 53));
    expect((await client.take(answer.length)).equals(answer)).toBe(true);
    expect(opener.targets).toEqual([]);
  });

  it('UDP over TCP 2 with one target opens an association with that target', async () => {
    const { client, opener } = await opened(KINDS['UDP over TCP 2'] as Kind);
    client.send([1, 1, 192, 0, 2, 7, 0, 53, 0, 3, ...Buffer.from('one')]);
    await until(() => opener.associations[0]?.sent.length === 1);
    expect(opener.associations[0]?.target).toEqual(TARGET);
    expect(opener.associations[0]?.sent).toEqual([{ text: 'one', to: undefined }]);
    opener.associations[0]?.answer('two');
    expect((await client.take(5)).toString('hex')).toBe('000374776f');
  });

  it.each(Object.entries(KINDS))('%s: what is sent in one go with the request is not lost', async (_, kind) => {
    const { port, opener } = await proxyTo(0);
    opener.echoes = true;
    const bytes = frame(kind.framing(), TARGET, 'early');
    const client = new Client(port).send([...kind.opening, ...kind.request, ...bytes]);
    await client.take(kind.reply.length / 2);
    expect((await client.take(bytes.length)).equals(bytes)).toBe(true);
  });

  it.each(['end', 'reset'] as const)('datagrams in TCP: the association ends with the connection: %s', async (how) => {
    const { client, opener } = await opened(KINDS['command 5 of hev-socks5'] as Kind);
    client.send([...frame(new HevFraming(), TARGET, 'one')]);
    await until(() => opener.associations.length === 1);
    if (how === 'end') client.socket.end();
    else client.socket.resetAndDestroy();
    await until(() => opener.associations[0]?.isClosed === true && client.events.includes('close'));
  });

  it('datagrams in TCP: a malformed frame ends the connection', async () => {
    const { client, opener } = await opened(KINDS['command 5 of hev-socks5'] as Kind);
    client.send([...frame(new HevFraming(), TARGET, 'one'), 0, 1, 1, 0]);
    await until(() => client.events.length > 0);
    expect(opener.associations[0]?.isClosed).toBe(true);
  });

  it('datagrams in TCP: one that is longer than UDP allows is dropped, and the next is sent', async () => {
    const { client, opener } = await opened(KINDS['command 5 of hev-socks5'] as Kind);
    client.send(frame(new HevFraming(), TARGET, 'x'.repeat(65_508)));
    client.send(frame(new HevFraming(), TARGET, 'x'.repeat(65_507)));
    await until(() => opener.associations[0]?.sent.length === 1);
    expect(opener.associations[0]?.sent[0]?.text.length).toBe(65_507);
  });

  it('datagrams in TCP: answers that the program does not read are dropped, and take no memory', async () => {
    const { client, opener } = await opened(KINDS['command 5 of hev-socks5'] as Kind);
    client.send(frame(new HevFraming(), TARGET, 'one'));
    await until(() => opener.associations.length === 1);
    client.socket.pause();
    const bytes = Buffer.alloc(1_000, 'a');
    // Far more than both kernel buffers and the limit.
    for (let n = 0; n < 50_000; n++) {
      opener.associations[0]?.answer(bytes, TARGET);
      if (n % 1_000 === 0) await new Promise(setImmediate);
    }
    client.socket.resume();
    client.send(frame(new HevFraming(), TARGET, 'again'));
    await until(() => opener.associations[0]?.sent.length === 2);
    expect(client.received.length).toBeLessThan(20_000_000);
  });
});
