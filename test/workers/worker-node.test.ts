import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { Socket } from 'node:net';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Peer } from '../../src/crypto/ticket.ts';
import { silentLogger } from '../../src/observability/logger.ts';
import { NamedExits } from '../../src/relay/named-exits.ts';
import {
  announcements,
  decodeControl,
  encodeControl,
  encodeNotice,
  TAKEN_FEATURE,
} from '../../src/transport/control-messages.ts';
import type { MessageLink } from '../../src/transport/message-link.ts';
import { Hub } from '../../src/workers/hub.ts';
import type { Envelope } from '../../src/workers/messages.ts';
import { passLink, takeFromWorkers } from '../../src/workers/worker-links.ts';
import { WorkerNode } from '../../src/workers/worker-node.ts';
import { describeLinkCompliance } from '../support/links/link-compliance.ts';
import { LinkRecorder } from '../support/links/link-recorder.ts';
import { memoryLinkPair } from '../support/links/memory-link.ts';
import { atEnd } from '../support/scope.ts';
import { tempDir } from '../support/temp-dir.ts';
import { until } from '../support/until.ts';

const ABSENT = Buffer.concat(encodeNotice('exit-absent'));
const KEY = Buffer.alloc(32, 9).toString('base64url');

describeLinkCompliance('a link that was passed to another worker', async () => {
  const path = `${await tempDir()}/a.sock`;
  const [own, far] = memoryLinkPair();
  let take = (_link: MessageLink): void => {};
  const taken = new Promise<MessageLink>((resolve) => {
    take = resolve;
  });
  const handler = { onLink: (link: MessageLink) => take(link), onRequest() {} };
  const server = await takeFromWorkers(path, handler, silentLogger);
  passLink(path, own, { remote: 'memory', maxMessageBytes: far.maxMessageBytes, purpose: {} });
  return { near: await taken, far, release: () => void server.close() };
});

describe('a link that is passed to another worker', () => {
  it('a link that is passed to a worker that has gone is aborted', async () => {
    const [own, far] = memoryLinkPair();
    const recorder = new LinkRecorder(far);
    passLink(`${await tempDir()}/none.sock`, own, { remote: 'memory', maxMessageBytes: 1, purpose: {} });
    await until(() => recorder.closes.length === 1);
    expect(recorder.closes[0]?.clean).toBe(false);
  });

  it('a worker takes links at the path of an earlier one that was killed', async () => {
    const path = `${await tempDir()}/a.sock`;
    await writeFile(path, '');
    const [own, far] = memoryLinkPair();
    const recorder = new LinkRecorder(far);
    const onLink = (link: MessageLink): void => link.close();
    const server = await takeFromWorkers(path, { onLink, onRequest() {} }, silentLogger);
    atEnd(() => void server.close());
    passLink(path, own, { remote: 'memory', maxMessageBytes: 1, purpose: {} });
    await until(() => recorder.closes.length === 1);
    expect(recorder.closes[0]?.clean).toBe(true);
  });

  it('a link that is passed to a process that is no worker is aborted', async () => {
    const path = `${await tempDir()}/other.sock`;
    const server = createServer((_request, response) => response.writeHead(404).end()).listen(path);
    atEnd(() => void server.close());
    const [own, far] = memoryLinkPair();
    const recorder = new LinkRecorder(far);
    passLink(path, own, { remote: 'memory', maxMessageBytes: 1, purpose: {} });
    await until(() => recorder.closes.length === 1);
    expect(recorder.closes[0]?.clean).toBe(false);
  });
});

/** As IPC does it. */
function sent(envelope: Envelope): Envelope {
  return JSON.parse(JSON.stringify(envelope)) as Envelope;
}

/** Two workers of one relay, in this process. */
async function setUp() {
  const directory = await tempDir();
  const hub = new Hub({ onReady: () => {} });
  const worker = async (id: string) => {
    const toNode = (envelope: Envelope, socket?: Socket) => queueMicrotask(() => node.receive(sent(envelope), socket));
    const toHub = hub.add(id, toNode);
    const node: WorkerNode = new WorkerNode({
      ...{ id, directory, logger: silentLogger, onClose() {}, onReload() {} },
      post: (envelope, socket) => queueMicrotask(() => toHub(sent(envelope), socket)),
      report: async () => undefined,
    });
    const known = new Set<string>();
    const tickets = {
      add: ({ gateKey }: Peer) => void known.add(Buffer.from(gateKey).toString('base64url')),
      remove: ({ gateKey }: Peer) => void known.delete(Buffer.from(gateKey).toString('base64url')),
    };
    await node.start();
    const exits = new NamedExits({ tickets, logger: silentLogger, rendezvous: node, instance: '0'.repeat(32) });
    atEnd(() => {
      exits.close();
      node.stop();
    });
    const arrive = (role: 'client' | 'exit', peer: string, destination: string) => {
      const [near, far] = memoryLinkPair();
      exits.serve(near, { role, peer, destination, features: TAKEN_FEATURE });
      return { link: far, heard: new LinkRecorder(far) };
    };
    return { id, node, exits, known, arrive };
  };
  return { hub, one: await worker('0001'), two: await worker('0101') };
}

const controlsOf = ({ messages }: LinkRecorder) => messages.map((message) => decodeControl([message]));

describe('named exits at two workers', () => {
  let workers: Awaited<ReturnType<typeof setUp>>;
  beforeEach(async () => {
    workers = await setUp();
  });

  const tokenOf = async (heard: LinkRecorder): Promise<string> => {
    await until(() => controlsOf(heard).some((message) => message?.type === 'call'));
    return controlsOf(heard).flatMap((message) => (message?.type === 'call' ? [message.token] : []))[0] ?? '';
  };

  it.each(['one', 'two'] as const)(
    'a client at one worker reaches an exit of the other, whose answer comes to worker %s',
    async (at) => {
      const { one, two } = workers;
      const exit = two.arrive('exit', 'home', '');
      await until(() => one.node.isElsewhere('home'));
      const client = one.arrive('client', 'home/1', 'home');
      client.link.send([Buffer.from('early')]);
      const token = await tokenOf(exit.heard);
      expect(token.startsWith('0001')).toBe(true);
      const answer = workers[at].arrive('exit', 'home', token);
      answer.link.send([Buffer.from('welcome')]);
      await until(() => client.heard.messages.length === 1 && answer.heard.messages.length === 1);
      expect([String(client.heard.messages[0]), String(answer.heard.messages[0])]).toEqual(['welcome', 'early']);
      client.link.close();
      await until(() => answer.heard.closes.length === 1);
      expect(answer.heard.closes[0]?.clean).toBe(true);
    },
  );

  it('a client of an exit that is at no worker gets the notice at once', async () => {
    const client = workers.one.arrive('client', 'home/1', 'home');
    const since = performance.now();
    await until(() => client.heard.messages.length === 1);
    expect(client.heard.messages).toEqual([ABSENT]);
    expect(performance.now() - since).toBeLessThan(1_000);
  });

  it('the keys that an exit announces at one worker are known at the other', async () => {
    const { one, two } = workers;
    const exit = two.arrive('exit', 'home', '');
    for (const message of announcements([KEY])) exit.link.send(encodeControl(message));
    await until(() => one.known.has(KEY) && two.known.has(KEY));
    expect([one.known.size, two.known.size]).toEqual([1, 1]);
  });

  it('an exit that registers at another worker replaces itself, and its clients find it', async () => {
    const { one, two } = workers;
    const older = two.arrive('exit', 'home', '');
    await until(() => one.node.isElsewhere('home'));
    const newer = one.arrive('exit', 'home', '');
    await until(() => older.heard.closes.length === 1);
    expect(controlsOf(older.heard)).toContainEqual({ type: 'replaced' });
    const client = two.arrive('client', 'home/1', 'home');
    const token = await tokenOf(newer.heard);
    one.arrive('exit', 'home', token).link.send([Buffer.from('here')]);
    await until(() => client.heard.messages.length === 1);
    expect(String(client.heard.messages[0])).toBe('here');
  });

  it('an exit that answers calls of another worker without end is limited as without a call', async () => {
    const { one, two } = workers;
    await until(() => one.node.isOthers('0101'));
    const isFree = (node: typeof one): boolean => node.exits.isRequested('home', `0101${'0'.repeat(28)}`);
    const free = Array.from({ length: 5_000 }, () => isFree(one)).filter((each) => each).length;
    expect(free).toBeGreaterThanOrEqual(1_024);
    expect(free).toBeLessThan(4_500);
    // Of its own calls that worker knows each.
    expect(isFree(two)).toBe(false);
  });

  it('an answer to a call that is over is closed, although it came to another worker', async () => {
    const { one, two } = workers;
    const answer = one.arrive('exit', 'home', `0101${'0'.repeat(28)}`);
    await until(() => answer.heard.closes.length === 1);
    expect(two.exits.isRequested('home', `0101${'0'.repeat(28)}`)).toBe(false);
  });
});

it.each([{}, { audience: 2n ** 63n + 1n }])(
  'an upgrade that is passed to another worker comes there with all that is known of it, and %o',
  async (more) => {
    const { one, two } = await setUp();
    const upgrade = {
      head: { method: 'GET', url: '/', httpVersion: '1.1', headers: { upgrade: 'websocket' } },
      rest: Buffer.from('early'),
      admitted: { peer: 'home', role: 'exit' as const, destination: 'token', protocol: 1, features: 0, ...more },
      remote: '192.0.2.1',
    };
    const heard: unknown[] = [];
    two.node.setUpgradeHandler((socket, passed) => heard.push(socket, passed));
    const socket = new Socket();
    one.node.passUpgrade('0101', socket, upgrade);
    await until(() => heard.length > 0);
    expect(heard).toEqual([socket, upgrade]);
  },
);

describe('challenges of a certificate authority at two workers', () => {
  it('a challenge of the first worker is answered by the other one before it counts as open, until it is over', async () => {
    const { one, two } = await setUp();
    expect([one.node.challenges.isOurs, two.node.challenges.isOurs]).toEqual([true, false]);
    const heard: [string, unknown][] = [];
    two.node.challenges.setHandler((name, pair) => heard.push([name, pair]));
    const [a, b] = [
      { cert: 'ca', key: 'ka' },
      { cert: 'cb', key: 'kb' },
    ];
    const end = await one.node.challenges.open('a.example.org', a);
    await one.node.challenges.open('b.example.org', b);
    expect(heard.splice(0)).toEqual([
      ['a.example.org', a],
      ['b.example.org', b],
    ]);
    end();
    await until(() => heard.length > 0);
    expect(heard.splice(0)).toEqual([['a.example.org', undefined]]);
    // As of a relay that has not come so far.
    two.node.challenges.setHandler((name, pair) => heard.push([name, pair]));
    expect(heard).toEqual([['b.example.org', b]]);
  });
});
