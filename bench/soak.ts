/**
 * `npm run soak`: what takes too long for a test. Each part starts the programs as users run them, says what it saw,
 * and fails where the promise did not hold. Needs Linux (it reads /proc) and loopback.
 *
 *     npm run soak -- opens         1,000,000 opens that the exit refuses: the relay's memory stays flat
 *     npm run soak -- upgrades      100,000 upgrades that the relay refuses: the same
 *     npm run soak -- blind         100 MiB on each of 5 streams, 5 times each way, through a relay that cannot read;
 *     every byte checked
 *     npm run soak -- links         10 GB by 64 streams over 1 to 8 links that are reset, ended, frozen and held at
 *     random, through a relay and through a named exit: every byte checked, and no program above 200 MiB; by WebSockets,
 *     and in one round with fewer bytes by the HTTP link
 */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { decodeInvite } from '../src/crypto/invite.ts';
import { WstunError } from '../src/errors.ts';
import { silentLogger } from '../src/observability/logger.ts';
import type { Target } from '../src/protocol/target.ts';
import { RelaySessionDialer } from '../src/tunnel/dial/session-dialer.ts';
import { TunnelClient } from '../src/tunnel/session/tunnel-client.ts';
import { type ChaosNetwork, startChaosNetwork } from './chaos-network.ts';
import type { LoadJob, LoadResult } from './load.ts';
import { benchFile, Program, type ProgramOptions } from './programs.ts';

const WSTUN = fileURLToPath(new URL('../../bin/wstun.js', import.meta.url));
const MIB = 1024 * 1024;

const OPENS = 1_000_000;
const UPGRADES = 100_000;
/** Before the first look: what is compiled and pooled once, and until the allocator has its pages. */
const WARM_UP = 100_000;
const LOOKS = 10;
const FLAT_MIB = 5;
const OPENS_AT_A_TIME = 200;
const UPGRADES_AT_A_TIME = 64;
/** Of 127.0.0.0/8: one alone would run out of ports. */
const SOURCE_ADDRESSES = 32;

/** By then a change of an access list has been taken up: docs/operations.md. */
const LIST_KNOWN_MS = 2_000;

const ROUNDS = 5;
const STREAMS = 5;
const STREAM_BYTES = 100 * MIB;
const ROUND_LIMIT_MS = 120_000;

const MOST_LINKS = 8;
const LINK_STREAMS = 64;
/** Of each stream in each round: 10 GB in all rounds. */
const LINK_STREAM_BYTES = 10_000_000;
/** By the HTTP link. */
const HTTP_STREAM_BYTES = 2_000_000;
const LINK_ROUND_LIMIT_MS = 300_000;
/** Several holds and a resumption, one after the other, on a busy machine. */
const LINK_STALL_MS = 60_000;
const MOST_RESIDENT_MIB = 200;
const SEED = 15;

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

const ends: (() => Promise<unknown>)[] = [];

async function stateDir(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'wstun-soak-'));
  ends.push(() => rm(path, { recursive: true, force: true }));
  return path;
}

function start(name: string, args: readonly string[], options: ProgramOptions = {}): Program {
  const program = Program.start(name, WSTUN, [...args, '--json'], options);
  ends.push(() => program.stop());
  return program;
}

async function startRelay(state: string, args: readonly string[] = []): Promise<{ relay: Program; port: number }> {
  const relay = start('relay', ['relay', '--listen', '127.0.0.1:0', '--state', state, ...args], { probe: true });
  const { url } = await relay.ready<{ url: string }>();
  return { relay, port: Number(new URL(url).port) };
}

async function invite(state: string, name: string, ...args: readonly string[]): Promise<string> {
  const add = [WSTUN, 'access', 'add', name, '--state', state, ...args];
  const { stdout } = await promisify(execFile)(process.execPath, add);
  await delay(LIST_KNOWN_MS);
  return stdout.trim();
}

/** Runs `work` so many times, so many at a time. */
async function repeat(times: number, atATime: number, work: (at: number) => Promise<void>): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < times) await work(next++);
  };
  await Promise.all(Array.from({ length: atATime }, worker));
}

/**
 * Looks at a program's memory after a warm-up and ten times on the way, after full collections; it must end as it
 * began.
 */
async function expectFlat(
  program: Program,
  times: number,
  atATime: number,
  work: (at: number) => Promise<void>,
): Promise<void> {
  const began = performance.now();
  await repeat(WARM_UP, atATime, work);
  const first = await program.settledMemory();
  const grown = (now: typeof first, kind: 'used' | 'resident'): number => (now[kind] - first[kind]) / MIB;
  let last = first;
  for (let look = 0; look < LOOKS; look++) {
    await repeat(times / LOOKS, atATime, work);
    last = await program.settledMemory();
    const [used, resident] = [grown(last, 'used').toFixed(2), grown(last, 'resident').toFixed(2)];
    say(`  after ${((times / LOOKS) * (look + 1)).toLocaleString('en')}: used ${used} MiB, resident ${resident} MiB`);
  }
  say(`  in use at first ${(first.used / MIB).toFixed(1)} MiB, resident ${(first.resident / MIB).toFixed(1)} MiB`);
  const rate = ((times + WARM_UP) * 1000) / (performance.now() - began);
  say(`  ${rate.toFixed(0)} a second`);
  for (const kind of ['used', 'resident'] as const)
    if (Math.abs(grown(last, kind)) > FLAT_MIB)
      throw new Error(`not flat: ${kind} changed by ${grown(last, kind)} MiB`);
}

async function opens(): Promise<void> {
  const state = await stateDir();
  // The usual rate would take minutes.
  await writeFile(join(state, 'limits.toml'), 'opens = 1000000\n');
  const { relay } = await startRelay(state);
  const secret = decodeInvite(await invite(state, 'soak'));
  const observer = { onConnected() {}, onLinkLost() {}, onResumed() {}, onSessionLost() {}, onFailed() {} };
  const client = new TunnelClient(new RelaySessionDialer(secret, 'on', silentLogger), observer, silentLogger);
  const run = client.run();
  ends.push(() => Promise.all([client.close(0), run]));
  const target: Target = { kind: 'ip', ip: Uint8Array.of(10, 255, 255, 1), port: 9 };
  const { signal } = new AbortController();
  setMaxListeners(OPENS_AT_A_TIME, signal);
  await expectFlat(relay, OPENS, OPENS_AT_A_TIME, async () => {
    const fault = await client.open(target, signal).then(
      () => 'no fault',
      (error: unknown) => (error instanceof WstunError ? error.fault : String(error)),
    );
    if (fault !== 'dial-not-allowed') throw new Error(`an open ended with ${fault}`);
  });
}

async function upgrades(): Promise<void> {
  const { relay, port } = await startRelay(await stateDir());
  await expectFlat(relay, UPGRADES, UPGRADES_AT_A_TIME, (at) => refusedUpgrade(port, at));
}

function refusedUpgrade(port: number, at: number): Promise<void> {
  const localAddress = `127.0.0.${2 + (at % SOURCE_ADDRESSES)}`;
  return new Promise((resolve, reject) => {
    let answer = '';
    const socket = connect({ host: '127.0.0.1', port, localAddress });
    socket.setEncoding('latin1').on('data', (text: string) => {
      answer += text;
      // The relay keeps the connection, as any web server does.
      if (answer.endsWith('Not Found')) socket.destroy();
    });
    socket.once('error', reject);
    socket.once('end', () => socket.destroy());
    socket.once('close', () => {
      if (answer.startsWith('HTTP/1.1 404 ')) resolve();
      else reject(new Error(`an upgrade was answered with ${JSON.stringify(answer.slice(0, 40))}`));
    });
    const ticket = randomBytes(126).toString('base64url');
    const key = randomBytes(16).toString('base64');
    socket.write(
      `GET /${ticket} HTTP/1.1\r\nHost: relay\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n\r\n`,
    );
  });
}

async function blind(): Promise<void> {
  const [relayState, exitState] = [await stateDir(), await stateDir()];
  const { relay } = await startRelay(relayState, ['--no-exit']);
  const registration = await invite(relayState, 'home', '--role', 'exit');
  const exit = start('exit', ['exit', '--state', exitState], { env: { WSTUN_INVITE: registration } });
  await exit.ready();
  const secret = await invite(exitState, 'soak', '--allow', '127.0.0.1');
  const client = start('client', ['client', '--listen', '127.0.0.1:0'], { env: { WSTUN_INVITE: secret } });
  const { listen } = await client.ready<{ listen: string }>();
  const via = portOf(listen);
  const port = await startTarget();
  const load = startLoad();
  for (let round = 1; round <= ROUNDS; round++)
    for (const mode of ['down', 'up'] as const) {
      const job = { mode, via, target: port, amount: STREAM_BYTES, streams: STREAMS };
      // It fails at the first byte that is not as it was sent, and where one is missing.
      const { megabytesPerSecond = 0 } = await load.ask<LoadResult>(job, ROUND_LIMIT_MS);
      say(
        `  round ${round} ${mode}: ${STREAMS} × ${STREAM_BYTES / MIB} MiB as sent, ${megabytesPerSecond.toFixed(0)} MB/s`,
      );
    }
  for (const program of [client, relay, exit])
    say(`  peak memory, ${program.name}: ${(program.peakResident / MIB).toFixed(0)} MiB`);
}

function portOf(address: string): number {
  return Number(address.slice(address.lastIndexOf(':') + 1));
}

async function startTarget(): Promise<number> {
  const target = Program.start('target', benchFile('target.js'), []);
  ends.push(() => target.stop());
  return (await target.ready<{ port: number }>()).port;
}

function startLoad(): Program {
  const load = Program.start('load', benchFile('load.js'), []);
  ends.push(() => load.stop());
  return load;
}

/** A way to a target, with chaos between the programs. */
interface ChaoticWay {
  readonly exit: 'relay' | 'named';
  /** Of the client. */
  readonly secret: string;
  readonly networks: readonly ChaosNetwork[];
  readonly programs: readonly Program[];
}

async function chaos(port: number, seed: number, sparesQuiet = false): Promise<ChaosNetwork> {
  const network = await startChaosNetwork(port, seed, sparesQuiet);
  ends.push(async () => network.close());
  return network;
}

async function throughRelay(): Promise<ChaoticWay> {
  const state = await stateDir();
  const { relay, port } = await startRelay(state);
  const network = await chaos(port, SEED);
  const secret = await invite(state, 'soak', '--allow', '127.0.0.1', '--url', `ws://127.0.0.1:${network.port}`);
  return { exit: 'relay', secret, networks: [network], programs: [relay] };
}

async function throughNamedExit(): Promise<ChaoticWay> {
  const [relayState, exitState] = [await stateDir(), await stateDir()];
  const { relay, port } = await startRelay(relayState, ['--no-exit']);
  const networks = [await chaos(port, SEED + 1, true), await chaos(port, SEED + 2)];
  const [there, here] = networks.map((network) => ['--url', `ws://127.0.0.1:${network.port}`]);
  const registration = await invite(relayState, 'home', '--role', 'exit', ...(there ?? []));
  const exit = start('exit', ['exit', '--state', exitState, '--transport', 'websocket'], {
    env: { WSTUN_INVITE: registration },
  });
  await exit.ready();
  const secret = await invite(exitState, 'soak', '--allow', '127.0.0.1', ...(here ?? []));
  return { exit: 'named', secret, networks, programs: [relay, exit] };
}

/** Each stream ends cleanly after the last of its bytes, all of them right, or this fails. */
async function links(): Promise<void> {
  const target = await startTarget();
  const loads = [startLoad(), startLoad()] as const;
  let peak = 0;
  const ways = [await throughRelay(), await throughNamedExit()];
  const rounds = ways.flatMap((way) =>
    Array.from({ length: MOST_LINKS }, (_, i) => ({ way, count: i + 1, carrier: 'websocket' })),
  );
  rounds.push(...ways.slice(0, 1).map((way) => ({ way, count: 1, carrier: 'http' })));
  for (const { way, count, carrier } of rounds) {
    const args = ['client', '--listen', '127.0.0.1:0', '--links', String(count), '--transport', carrier];
    const client = start('client', args, { env: { WSTUN_INVITE: way.secret } });
    const { listen } = await client.ready<{ listen: string }>(LINK_ROUND_LIMIT_MS);
    const job = {
      via: portOf(listen),
      target,
      amount: carrier === 'http' ? HTTP_STREAM_BYTES : LINK_STREAM_BYTES,
      streams: LINK_STREAMS / 2,
      stallMs: LINK_STALL_MS,
    };
    const before = way.networks.map(({ counts }) => ({ ...counts }));
    const [down, up] = await exchangeBoth(loads, job);
    const programs = [client, ...way.programs];
    for (const { peakResident } of programs) peak = Math.max(peak, peakResident);
    const memory = programs.map(({ name, peakResident }) => `${name} ${(peakResident / MIB).toFixed(0)}`).join(', ');
    const speeds = `${[down, up].map(speed).join(' down, ')} up`;
    say(`  ${way.exit} exit, ${carrier}, links ${count}: ${speeds}; peaks, MiB: ${memory}`);
    say(`    ${happened(way.networks, before)}`);
    await client.stop();
  }
  if (peak > MOST_RESIDENT_MIB * MIB) throw new Error(`a program had ${(peak / MIB).toFixed(0)} MiB resident`);
}

function exchangeBoth(loads: readonly [Program, Program], job: Omit<LoadJob, 'mode'>): Promise<LoadResult[]> {
  const modes = ['down', 'up'] as const;
  return Promise.all(loads.map((load, i) => load.ask<LoadResult>({ ...job, mode: modes[i] }, LINK_ROUND_LIMIT_MS)));
}

function speed(result: LoadResult | undefined): string {
  return `${result?.megabytesPerSecond?.toFixed(0)} MB/s`;
}

function happened(networks: readonly ChaosNetwork[], before: readonly ChaosNetwork['counts'][]): string {
  const kinds = ['connections', 'reset', 'end', 'freeze', 'hold'] as const;
  const since = (kind: (typeof kinds)[number]): number =>
    networks.reduce((sum, { counts }, i) => sum + counts[kind] - (before[i]?.[kind] ?? 0), 0);
  return kinds.map((kind) => `${kind} ${since(kind)}`).join(', ');
}

const PARTS: Readonly<Record<string, () => Promise<void>>> = { opens, upgrades, blind, links };

const chosen = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(PARTS);
try {
  for (const name of chosen) {
    const part = PARTS[name];
    if (part === undefined) throw new Error(`no part ${name}; there are ${Object.keys(PARTS).join(', ')}`);
    say(`── ${name}`);
    await part();
    for (const end of ends.splice(0).reverse()) await end();
  }
} catch (error) {
  process.stderr.write(`soak: ${error instanceof Error ? error.message : String(error)}\n`);
  // What was started dies with this process; what lies in /tmp is small.
  process.exit(1);
}
