/** What a session carries beside TCP connections that its client asks for, from end to end, over links in memory. */
import { once } from 'node:events';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { WstunError } from '../../src/errors.ts';
import { silentLogger } from '../../src/observability/logger.ts';
import type { SessionRequest } from '../../src/protocol/session-request.ts';
import type { MessageLink } from '../../src/transport/message-link.ts';
import { initiateSecureLink } from '../../src/tunnel/dial/handshake.ts';
import { negotiateSession } from '../../src/tunnel/dial/session-dialer.ts';
import { ExitSessions } from '../../src/tunnel/session/exit-sessions.ts';
import { TunnelClient } from '../../src/tunnel/session/tunnel-client.ts';
import type { AssociationHandler, ServedListener } from '../../src/tunnel/stream/services.ts';
import type { OfferedStream, Target } from '../../src/tunnel/stream/stream.ts';
import { memoryLinkPair } from '../support/links/memory-link.ts';
import { CLIENT_KEYS, EXIT_KEYS } from '../support/links/secure-pair.ts';
import { ipTarget } from '../support/net/targets.ts';
import { never } from '../support/never.ts';
import { until } from '../support/until.ts';

const PLACE = ipTarget('192.0.2.1', 53);

class Ending implements AssociationHandler {
  readonly received: [text: string, from: Target | undefined][] = [];
  readonly ends: (WstunError | undefined)[] = [];
  readonly bounds: (Target | undefined)[] = [];

  handleDatagram(bytes: Uint8Array, from: Target | undefined): void {
    this.received.push([Buffer.from(bytes).toString(), from]);
  }

  handleOpened(bound: Target | undefined): void {
    this.bounds.push(bound);
  }

  handleEnd(error: WstunError | undefined): void {
    this.ends.push(error);
  }
}

async function connect(handleOffer: (offer: OfferedStream) => void) {
  const links: MessageLink[] = [];
  const exit = new ExitSessions({
    ...{ keys: EXIT_KEYS, peerOf: () => 'alice', logger: silentLogger },
    acceptor: { handleOffer },
  });
  const dial = async (request: () => SessionRequest) => {
    const [near, far] = memoryLinkPair();
    links.push(near);
    exit.serve(far, 'alice');
    const pinned = { keys: CLIENT_KEYS, exitKey: EXIT_KEYS.publicKey };
    const link = await initiateSecureLink(near, { ...pinned, suite: 'AESGCM', encryption: 'on' }, never);
    return negotiateSession(link, request(), never);
  };
  let connected = 0;
  let resumed = 0;
  const observer = { onConnected: () => void connected++, onResumed: () => void resumed++ };
  const client = new TunnelClient({ dial }, observer, silentLogger);
  const run = client.run();
  onTestFinished(async () => {
    await client.close(0);
    exit.endAll('shutting-down');
    await run;
  });
  await until(() => connected === 1);
  const loseLink = async () => {
    const before = resumed;
    links.at(-1)?.abort();
    await until(() => resumed > before);
  };
  return { client, exit, loseLink };
}

/** Sends each datagram back to where it was to go. */
function echo(offer: OfferedStream): void {
  const association = offer.acceptAssociation({
    handleDatagram: (bytes, to) => association.send(bytes, to),
    handleEnd: () => offer.release(),
  });
}

describe('an association', () => {
  it('carries datagrams to any address and back, those that were sent before the answer included', async () => {
    const { client } = await connect((offer) => {
      expect(offer).toMatchObject({ service: 'udp', peer: 'alice' });
      setImmediate(() => echo(offer));
    });
    expect(client.lacksUdp).toBe(false);
    const near = new Ending();
    const association = client.openAssociation(undefined, near);
    const name: Target = { kind: 'name', name: 'example.org', port: 53 };
    association.send(Buffer.from('one'), PLACE);
    association.send(Buffer.from(''), ipTarget('2001:db8::1', 9));
    association.send(Buffer.from('three'), name);
    await until(() => near.received.length === 3);
    expect(near.received).toEqual([
      ['one', PLACE],
      ['', ipTarget('2001:db8::1', 9)],
      ['three', name],
    ]);
    expect(near.bounds).toEqual([undefined]);
    expect(client.status()).toMatchObject({ associations: 1, streamCount: 0 });
    association.close();
    expect(client.status().associations).toBe(0);
  });

  it('to a single target carries datagrams of every size up to 65,500 bytes without an address', async () => {
    const { client } = await connect((offer) => {
      expect(offer.target).toEqual(PLACE);
      echo(offer);
    });
    const near = new Ending();
    const association = client.openAssociation(PLACE, near);
    const texts = [0, 1, 2047, 2048, 2049, 9_000, 65_500].map((bytes) => 'x'.repeat(bytes));
    for (const text of [...texts, 'x'.repeat(65_501)]) {
      association.send(Buffer.from(text));
      await until(() => near.received.length === Math.min(texts.length, texts.indexOf(text) + 1 || texts.length));
    }
    expect(near.received.map(([text, from]) => [text.length, from])).toEqual(
      texts.map((text) => [text.length, undefined]),
    );
  });

  it('outlives its link, and loses only what was on its way', async () => {
    const { client, loseLink } = await connect(echo);
    const near = new Ending();
    const association = client.openAssociation(PLACE, near);
    association.send(Buffer.from('before'));
    await until(() => near.received.length === 1);
    await loseLink();
    association.send(Buffer.from('after'));
    await until(() => near.received.length === 2);
    expect(near.received.map(([text]) => text)).toEqual(['before', 'after']);
    expect(near.ends).toEqual([]);
  });

  it('that the exit refuses, fails, or closes when it was idle, ends once with the reason', async () => {
    const { client } = await connect((offer) => {
      if (offer.target.port === 1) {
        offer.refuse('dial-not-allowed');
        offer.release();
        return;
      }
      const association = offer.acceptAssociation({ handleDatagram: () => association.close(), handleEnd: () => {} });
      offer.release();
    });
    const [refused, idle] = [new Ending(), new Ending()];
    client.openAssociation(ipTarget('192.0.2.1', 1), refused).send(Buffer.from('lost'));
    client.openAssociation(ipTarget('192.0.2.1', 2), idle).send(Buffer.from('last'));
    await until(() => refused.ends.length + idle.ends.length === 2);
    expect(refused.ends).toMatchObject([{ fault: 'dial-not-allowed' }]);
    expect(idle.ends).toEqual([undefined]);
  });

  it('that the client closes still delivers its last datagrams, and then ends at the exit', async () => {
    const far = new Ending();
    const { client } = await connect((offer) => {
      offer.acceptAssociation(far);
    });
    const near = new Ending();
    const association = client.openAssociation(PLACE, near);
    association.send(Buffer.from('first'));
    // Closed before the answer, it would be cancelled.
    await until(() => far.received.length === 1 && near.bounds.length === 1);
    association.send(Buffer.from('last'));
    association.close();
    association.send(Buffer.from('too late'));
    await until(() => far.ends.length === 1);
    expect(far.received.map(([text]) => text)).toEqual(['first', 'last']);
    expect(far.ends).toEqual([undefined]);
  });

  it('ends with its session, at both ends', async () => {
    const far = new Ending();
    const { client, exit } = await connect((offer) => void offer.acceptAssociation(far));
    const near = new Ending();
    client.openAssociation(PLACE, near).send(Buffer.from('first'));
    await until(() => far.received.length === 1);
    exit.keepOnly(new Set());
    await until(() => near.ends.length === 1);
    expect(near.ends).toMatchObject([{ fault: 'access-removed' }]);
    expect(far.ends).toMatchObject([{ fault: 'access-removed' }]);
  });

  it('is not opened while there is no session', () => {
    const dial = () => new Promise<never>(() => {});
    const client = new TunnelClient({ dial }, {}, silentLogger);
    expect(() => client.openAssociation(PLACE, new Ending())).toThrow(
      expect.objectContaining({ fault: 'not-connected' }),
    );
  });
});

describe('a listener', () => {
  async function listening() {
    const listeners: { served: ServedListener; offer: OfferedStream }[] = [];
    const stack = await connect((offer) => {
      expect(offer).toMatchObject({ service: 'tcp-listener', target: ipTarget('127.0.0.1', 0) });
      listeners.push({ served: offer.acceptListener(ipTarget('127.0.0.1', 8080)), offer });
    });
    const ends: WstunError[] = [];
    const connections: OfferedStream[] = [];
    const handler = {
      handleConnection: (offer: OfferedStream) => void connections.push(offer),
      handleEnd: (error: WstunError) => void ends.push(error),
    };
    const listener = await stack.client.listenTcp(ipTarget('127.0.0.1', 0), handler, never);
    const [{ served, offer } = expect.unreachable()] = listeners;
    return { ...stack, listener, served, offer, ends, connections };
  }

  it('says where it listens, and leads connections to the client, both ways', async () => {
    const { listener, served, connections, loseLink } = await listening();
    expect(listener.bound).toEqual(ipTarget('127.0.0.1', 8080));
    await loseLink();
    const opening = served.open(ipTarget('198.51.100.7', 40_000), never);
    await until(() => connections.length === 1);
    const [connection = expect.unreachable()] = connections;
    expect(connection).toMatchObject({ service: 'accepted', target: ipTarget('198.51.100.7', 40_000) });
    const near = connection.accept();
    const far = await opening;
    far.write('request');
    expect(String((await once(near, 'data'))[0])).toBe('request');
    near.end('response');
    expect(String((await once(far, 'data'))[0])).toBe('response');
    far.destroy();
    connection.release();
  });

  it('passes on that the client refuses a connection', async () => {
    const { served, connections } = await listening();
    const opening = served.open(ipTarget('198.51.100.7', 40_000), never);
    await until(() => connections.length === 1);
    connections[0]?.refuse('dial-refused');
    connections[0]?.release();
    await expect(opening).rejects.toMatchObject({ fault: 'dial-refused' });
  });

  it('that the exit closes tells the client why', async () => {
    const { served, ends } = await listening();
    served.close('listen-not-allowed');
    await until(() => ends.length === 1);
    expect(ends).toMatchObject([{ fault: 'listen-not-allowed' }]);
  });

  it('that the client closes is gone at the exit, which then gets no connection through', async () => {
    const { listener, served, offer, ends } = await listening();
    listener.close();
    await until(() => offer.signal.aborted);
    await expect(served.open(ipTarget('198.51.100.7', 40_000), never)).rejects.toMatchObject({
      fault: 'dial-cancelled',
    });
    expect(ends).toEqual([]);
  });

  it('ends with its session, at both ends', async () => {
    const { exit, offer, ends } = await listening();
    exit.keepOnly(new Set());
    await until(() => ends.length === 1);
    expect(ends).toMatchObject([{ fault: 'access-removed' }]);
    expect(offer.signal.aborted).toBe(true);
  });

  it('for UDP says where it listens, and takes datagrams of anyone', async () => {
    const { client } = await connect((offer) => {
      expect(offer.service).toBe('udp-listener');
      const association = offer.acceptAssociation(
        { handleDatagram: () => association.close(), handleEnd: () => {} },
        ipTarget('127.0.0.1', 5353),
      );
      association.send(Buffer.from('who is there'), ipTarget('198.51.100.7', 40_000));
    });
    const near = new Ending();
    const association = client.listenUdp(ipTarget('127.0.0.1', 0), near);
    await until(() => near.received.length === 1);
    expect(near.bounds).toEqual([ipTarget('127.0.0.1', 5353)]);
    expect(near.received).toEqual([['who is there', ipTarget('198.51.100.7', 40_000)]]);
    association.send(Buffer.from('me'), ipTarget('198.51.100.7', 40_000));
    await until(() => near.ends.length === 1);
  });
});

describe('the resolver', () => {
  it('is a stream of bytes both ways', async () => {
    const { client } = await connect((offer) => {
      expect(offer.service).toBe('resolver');
      const stream = offer.accept();
      stream.pipe(stream);
    });
    const stream = await client.openResolver(never);
    stream.write('query');
    expect(String((await once(stream, 'data'))[0])).toBe('query');
    stream.destroy();
  });
});

describe('an exit that shuts down', () => {
  it('waits for no listener, association or resolver: the client has them end, to open others elsewhere', async () => {
    const { client, exit } = await connect((offer) => {
      offer.signal.addEventListener('abort', () => offer.release());
      if (offer.service === 'resolver') offer.accept().resume();
      else if (offer.service === 'tcp-listener') offer.acceptListener(PLACE);
      else echo(offer);
    });
    const ends: WstunError[] = [];
    const handler = { handleConnection: () => {}, handleEnd: (error: WstunError) => void ends.push(error) };
    await client.listenTcp(PLACE, handler, never);
    const [near, udpListener] = [new Ending(), new Ending()];
    client.openAssociation(PLACE, near);
    client.listenUdp(PLACE, udpListener);
    const resolver = await client.openResolver(never);
    await until(() => near.bounds.length === 1 && udpListener.bounds.length === 1);
    const since = performance.now();
    await exit.close(60_000);
    expect(performance.now() - since).toBeLessThan(20_000);
    expect([...ends, ...near.ends, ...udpListener.ends].map((error) => error?.fault)).toEqual(
      Array(3).fill('shutting-down'),
    );
    expect(resolver.destroyed).toBe(true);
  });
});
