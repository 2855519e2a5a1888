/**
 * A second implementation of docs/protocol.md, in Python (test/interop), against the real programs. It was written from
 * that page alone: each difference between the two is a defect of the program or of the page.
 */
import { connect } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { datagramHeader } from '../../src/proxy/udp/datagram-header.ts';
import { runDatagrams, udpEcho } from '../support/net/datagram-run.ts';
import { ipTarget } from '../support/net/targets.ts';
import { echo, tcpServer } from '../support/net/tcp.ts';
import { exchange } from '../support/payload.ts';
import { freePort, runWell } from '../support/programs/programs.ts';
import { type WstunEvent, WstunProcess } from '../support/programs/wstun-process.ts';
import {
  type InviteOptions,
  invite,
  type RunningRelay,
  spawnClient,
  startBehindRelay,
  startClient,
  startRelay,
} from '../support/programs/wstun-stack.ts';
import { connectThrough, dial, take } from '../support/proxy/through-proxy.ts';
import { until } from '../support/until.ts';

/** Debian's, which has the packages that install-programs.sh installs. */
const PYTHON = '/usr/bin/python3';
const PEER = join(import.meta.dirname, '../interop');
/** Of `wstun client`, each for a violation of its own. */
const CLIENTS_AT_ONCE = 4;
/** Of one of those programs. */
const PEER_LIMIT_MS = 60_000;
/** 66,536 round trips: 38 s if nothing else runs. */
const REKEY_LIMIT_MS = 300_000;
const TEN_MB = 10_000_000;
const SUITES = [
  ['ChaChaPoly', 1],
  ['AESGCM', 2],
] as const;
const ALLOWED = { allow: ['127.0.0.0/8'], sessions: '200' };

/** Runs a program of test/interop to its end; what it says. */
async function peer(
  program: string,
  args: readonly (string | number)[],
  secret = '',
  limitMs = PEER_LIMIT_MS,
): Promise<WstunEvent[]> {
  const command = ['-B', join(PEER, program), ...args.map(String)];
  const stdout = await runWell(PYTHON, command, { env: { WSTUN_INVITE: secret }, limitMs });
  return stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as WstunEvent);
}

/** A relay that knows by which URL it is reached, and so takes no tickets for others. */
async function startNamed(args: readonly string[] = []): Promise<RunningRelay> {
  const port = await freePort();
  return startRelay({ port, args: ['--url', `ws://127.0.0.1:${port}`, ...args] });
}

/** The relay's own exit, and an invite to it. */
async function ownExit(more: InviteOptions = {}): Promise<string> {
  return invite(await startNamed(), 'peer', { ...ALLOWED, ...more });
}

/** A client of an exit in Python: what it is to be given, and what for. */
interface PeerOfExit {
  readonly invite: string;
  /** The violation that is meant for it, and whether it must open a stream for that. */
  readonly name?: string;
  readonly opens?: boolean;
}

interface PythonExit {
  readonly process: WstunProcess;
  readonly clients: readonly [PeerOfExit, ...PeerOfExit[]];
}

/** Runs a program of test/interop as the exit `home` of a relay that has none of its own. */
async function pythonExit(program: string, ...args: readonly (string | number)[]): Promise<PythonExit> {
  const relay = await startNamed(['--no-exit']);
  const registration = await invite(relay, 'home', { role: 'exit' });
  const command = ['-B', join(PEER, program), ...args.map(String)];
  const process = new WstunProcess(command, { through: PYTHON, env: { WSTUN_INVITE: registration } });
  const { clients } = await process.event('ready');
  return { process, clients: clients as PythonExit['clients'] };
}

/** What basics.py says where all is well. */
function basics({ mayWait }: { mayWait: boolean }): WstunEvent[] {
  const resets = { resetByTarget: 'reset: target-reset', resetSeenByTarget: 'reset' };
  const dials = { refused: 'failed: dial-refused', notAllowed: 'failed: dial-not-allowed' };
  const session = { event: 'basics', echo: 'hello, echo', pong: '12345678', up: true, down: true, mayWait };
  return [
    { ...session, ...resets, ...dials },
    { event: 'closed', how: 'closed with 1000' },
  ];
}

const ALL_SERVICES = ['udp', 'listeners', 'resolver'] as const;

/** What services.py says. */
const SERVICES: WstunEvent[] = [
  {
    event: 'udp',
    ...{ connected: true, toSeveral: true, filtered: ['127.0.0.1'], refused: 'failed: dial-not-allowed' },
    ...{ acknowledged: true, finished: 'open, 0 more', overLinks: { seen: true, doubled: 0, ports: 1 } },
  },
  { event: 'listeners', accepted: true, refused: 'reset', inUse: 'failed: listen-in-use', udpListener: true },
  { event: 'resolver', answers: { 1: 0, 2: 0 } },
];
const MAY_LISTEN = { listen: ['127.0.0.1:*'] };

/** What resume.py says where no byte was lost, and none came twice. */
const RESUMED: WstunEvent[] = [
  { event: 'echo', same: true, aborted: 20, retransmitted: true },
  { event: 'old-link', same: true, cameTwice: true },
];

describe('the vectors of docs/protocol.md', () => {
  // What the product makes of them: test/protocol/vectors.test.ts.
  it('the Python peer makes and reads each vector of appendix A as the page has it', async () => {
    const [said] = await peer('vectors.py', [join(import.meta.dirname, '../../docs/protocol.md')]);
    expect(said).toMatchObject({ wrong: [], unread: [], onlyOnPage: [], onlyHere: [] });
    expect(said?.count).toBeGreaterThan(100);
  });
});

describe('a client in Python, at the relay’s own exit', () => {
  it.each(SUITES)(
    'a Python client transfers 10 MB each way with %s, and sees half-close, resets, PONG, refused dials and the end',
    async (_, suite) => {
      // This peer offers `may wait` only with the second suite.
      expect(await peer('basics.py', [suite], await ownExit())).toEqual(basics({ mayWait: suite === 2 }));
    },
  );

  it.each(SUITES)(
    'a Python client resumes a session with %s over 20 aborted links while both directions are busy',
    async (_, suite) => {
      expect(await peer('resume.py', [suite], await ownExit())).toEqual(RESUMED);
    },
  );

  it('a Python client has UDP over lost links, listeners and a resolver', async () => {
    expect(await peer('services.py', ALL_SERVICES, await ownExit(MAY_LISTEN))).toEqual(SERVICES);
  });

  // One suite: of the other, appendix A has the key and the records at a rekey, and both ends make them.
  it('a Python client and an exit go on after a rekey each way, with AESGCM', { timeout: REKEY_LIMIT_MS }, async () => {
    const said = await peer('rekey.py', [2, REKEY_LIMIT_MS / 1000], await ownExit(), REKEY_LIMIT_MS);
    expect(said).toEqual([{ event: 'rekey', same: true, rekeysOut: 1, rekeysIn: 1 }]);
  });
});

describe('a client in Python, at a named exit', () => {
  it('a Python client transfers 10 MB each way and resumes its session through `wstun exit`', async () => {
    const { exit } = await startBehindRelay();
    const secret = await invite(exit, 'peer', { ...ALLOWED, ...MAY_LISTEN });
    expect(await peer('basics.py', [1], secret)).toEqual(basics({ mayWait: false }));
    expect(await peer('resume.py', [2], secret)).toEqual(RESUMED);
    expect(await peer('services.py', ALL_SERVICES, secret)).toEqual(SERVICES);
  });

  it('a Python client transfers 10 MB each way and resumes its session through a Python exit and a relay', async () => {
    const { clients } = await pythonExit('exit_serving.py', 0);
    expect(await peer('basics.py', [2], clients[0].invite)).toEqual(basics({ mayWait: false }));
    expect(await peer('resume.py', [1], clients[0].invite)).toEqual(RESUMED);
    expect(await peer('services.py', ALL_SERVICES, clients[0].invite)).toEqual(SERVICES);
  });
});

describe('a named exit in Python', () => {
  it('`wstun client` transfers 10 MB each way through a Python exit', async () => {
    const { clients } = await pythonExit('exit_serving.py', 0);
    const client = await startClient(clients[0].invite);
    const socket = await connectThrough('SOCKS5', client.port, await tcpServer(echo));
    const { sent, received } = await exchange(socket, TEN_MB);
    expect(received).toEqual({ bytes: TEN_MB, hash: sent });
  });

  it('`wstun client` loses no byte while a Python exit aborts its links again and again', async () => {
    const { process, clients } = await pythonExit('exit_serving.py', 150);
    const client = await startClient(clients[0].invite);
    const socket = await connectThrough('SOCKS5', client.port, await tcpServer(echo));
    const { sent, received } = await exchange(socket, TEN_MB);
    expect(received).toEqual({ bytes: TEN_MB, hash: sent });
    expect(process.events.filter(({ event }) => event === 'aborted').length).toBeGreaterThan(3);
  });
});

describe('services of a named exit in Python', () => {
  /** Of a program that asks for UDP ASSOCIATE, and is answered. */
  const GREETED_GRANTED = 12;

  async function echoedDatagrams(exit: PythonExit, count: number): ReturnType<typeof runDatagrams> {
    const client = await startClient(exit.clients[0].invite);
    const target = await udpEcho();
    const socks = await dial(client.port);
    socks.write(Uint8Array.of(5, 1, 0, 5, 3, 0, 1, 0, 0, 0, 0, 0, 0));
    const port = (await take(socks, GREETED_GRANTED)).readUInt16BE(10);
    return runDatagrams({ port, header: datagramHeader(ipTarget('127.0.0.1', target.port)), count, seed: 5 });
  }

  it('`wstun client` sends datagrams through a Python exit and back, in order and unaltered', async () => {
    const { answered, wrong } = await echoedDatagrams(await pythonExit('exit_serving.py', 0), 1_000);
    expect(wrong).toBe(0);
    expect(answered).toBeGreaterThan(950);
  });

  it('`wstun client` goes on with an association while a Python exit aborts its links again and again', async () => {
    const exit = await pythonExit('exit_serving.py', 15);
    // What is on its way when a link is aborted is lost, and more of it on a busy machine.
    const { answered, wrong } = await echoedDatagrams(exit, 1_000);
    expect(wrong).toBe(0);
    expect(answered).toBeGreaterThan(200);
    expect(exit.process.events.filter(({ event }) => event === 'aborted').length).toBeGreaterThan(1);
  });

  it('`wstun client` has ports at a Python exit, and names from it', async () => {
    const { clients } = await pythonExit('exit_serving.py', 0);
    const echoing = await tcpServer(echo);
    const { port } = await udpEcho();
    const args = ['-R', `0:127.0.0.1:${echoing}`, '-R', `0:127.0.0.1:${port}/udp`, '--dns-listen', '127.0.0.1:0'];
    const client = spawnClient(clients[0].invite, { args });
    const names = String((await client.event('dns-listening')).listen);
    await until(() => client.events.filter(({ state }) => state === 'listening').length === 2);
    const bound = (ending: string) => {
      const found = client.events.find(({ forward }) => String(forward).endsWith(ending));
      return Number(String(found?.bound).replace(/^.*:/, ''));
    };
    const socket = connect(bound(`:${echoing}`), '127.0.0.1');
    const { sent, received } = await exchange(socket, TEN_MB);
    expect(received).toEqual({ bytes: TEN_MB, hash: sent });
    expect(await runDatagrams({ port: bound('/udp'), count: 30, seed: 6 })).toMatchObject({ wrong: 0 });
    const [host = '', dnsPort = ''] = names.split(':');
    const answer = await runWell('dig', [`@${host}`, '-p', dnsPort, '+short', 'anything.example', 'A']);
    expect(answer.trim()).toBe('192.0.2.53');
  });
});

interface Reaction {
  readonly name: string;
  readonly promised: readonly string[];
  readonly seen: string;
}

/** Those of all violations so far in this file. */
const reactions: Reaction[] = [];

/** All of them at once, so that a failure shows each that is not as docs/protocol.md promises. */
function expectAsPromised(events: readonly WstunEvent[], count: number): void {
  const told = events.filter(({ event }) => event === 'reaction') as unknown as Reaction[];
  expect(told.filter(({ promised, seen }) => !promised.includes(seen))).toEqual([]);
  expect(told).toHaveLength(count);
  reactions.push(...told);
}

/** Runs a client until the exit has reported how it reacted to its violation. */
async function provoke(exit: WstunProcess, { invite, name, opens }: PeerOfExit, target: number): Promise<void> {
  const client = spawnClient(invite);
  if (opens) {
    const { listen } = await client.event('ready');
    const proxy = Number(String(listen).split(':')[1]);
    // Its outcome does not matter here: the session may end meanwhile.
    connectThrough('SOCKS5', proxy, target).catch(() => {});
  }
  await until(() => exit.events.some((told) => told.event === 'reaction' && told.name === name), 20_000);
  await client.kill();
}

// Once in some twenty runs on a busy machine, one of the ends sees a reset before the answer: its cause is not known yet.
describe('each violation of docs/protocol.md has the reaction that the page promises', { retry: 1 }, () => {
  it('an exit answers violations of records, frames, streams and credit as docs/protocol.md promises', async () => {
    expectAsPromised(await peer('violations_of_session.py', [], await ownExit()), 144);
  });

  it('a relay answers violations of ticket, upgrade, handshake and request as docs/protocol.md promises', async () => {
    expectAsPromised(await peer('violations_of_link.py', [], await ownExit()), 74);
  });

  it('a relay answers violations of the control link of an exit as docs/protocol.md promises', async () => {
    const relay = await startRelay({ args: ['--no-exit'] });
    const registration = await invite(relay, 'home', { role: 'exit' });
    expectAsPromised(await peer('violations_of_control.py', [], registration), 22);
  });

  it('`wstun client` answers violations of an exit in a session as docs/protocol.md promises', async () => {
    const target = await tcpServer(echo);
    const { process, clients } = await pythonExit('violations_of_exit.py');
    const waiting = [...clients];
    const serve = async (): Promise<void> => {
      for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) await provoke(process, next, target);
    };
    await Promise.all(Array.from({ length: CLIENTS_AT_ONCE }, serve));
    expectAsPromised(process.events, 33);
  });

  it('`wstun client` answers violations of an exit before a session as docs/protocol.md promises', async () => {
    const { process, clients } = await pythonExit('violations_of_exit.py', 'handshake');
    const client = await startClient(clients[0].invite);
    expect(client.process.events.some(({ event }) => event === 'retrying')).toBe(true);
    expectAsPromised(process.events, 3);
  });

  it('the violations of this file are more than a hundred, and each has a name of its own', () => {
    const names = reactions.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    expect(names.length).toBeGreaterThan(100);
  });
});
