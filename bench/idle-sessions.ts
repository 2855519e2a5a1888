/**
 * What many sessions without streams cost the relay: while their clients are there, and when those were killed. Beside
 * them stands what a bare `ws` connection costs its server.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Settings } from './measure.ts';
import type { Memory } from './memory.ts';
import { benchFile, Program } from './programs.ts';
import { growthRows, perPiece, type Row } from './report.ts';
import { startCrowdedRelay } from './subjects.ts';

/** As many links as the relay has by default. */
const SESSIONS = 10_000;
const QUICK_SESSIONS = 1_000;
/** As many as the relay keeps of one peer when their links are lost. */
const SESSIONS_OF_BEARER = 16;
/** Processes that hold them. */
const HOLDERS = 4;
/** What a session may cost, bytes. */
const IDLE_LIMIT = 13_000;
const DETACHED_LIMIT = 8_000;
/** The first connections also cost what is compiled and pooled once. */
const WARM_UP = 100;
/** More than a server without connections has open. */
const OWN_FILES = 64;
const HOLD_LIMIT_MS = 120_000;
const LOSS_LIMIT_MS = 30_000;
const LOSS_POLL_MS = 100;

export async function measureSessions({ quick, wstun, nodes }: Settings): Promise<Row[]> {
  const count = quick ? QUICK_SESSIONS : SESSIONS;
  const bare = await bareGrowth(count);
  const rows: Row[] = [];
  for (const { program, suffix } of nodes) {
    const { held, lost } = await sessionGrowth(wstun, count, program);
    const of = { subject: `wstun${suffix}`, suffix, baselineName: 'bare ws' };
    const name = (what: string): string => `${what} of ${count}, relay`;
    rows.push(
      ...growthRows({ ...of, name: name('an idle session') }, bare, held, IDLE_LIMIT),
      ...growthRows({ ...of, name: name('a session without a link') }, bare, lost, DETACHED_LIMIT),
    );
  }
  return rows;
}

async function bareGrowth(count: number): Promise<Memory> {
  const server = Program.start('bare ws server', benchFile('bare-ws.js'), [], { probe: true });
  const { port } = await server.ready<{ port: number }>();
  const args = ['bare', `ws://127.0.0.1:${port}`];
  await loseAll(server, [await hold(WARM_UP, args)]);
  const before = await server.settledMemory();
  const holders = await holdAll(count, () => args);
  const growth = perPiece(before, await server.settledMemory(), count);
  await loseAll(server, holders);
  await server.stop();
  return growth;
}

async function sessionGrowth(wstun: string, count: number, program: string): Promise<{ held: Memory; lost: Memory }> {
  const peers = Math.ceil((WARM_UP + count) / SESSIONS_OF_BEARER) + HOLDERS;
  const { relay, invites, stop } = await startCrowdedRelay(wstun, peers, { probe: true, program });
  const take = (sessions: number) => invites.splice(0, Math.ceil(sessions / SESSIONS_OF_BEARER));
  await loseAll(relay, [await hold(WARM_UP, ['wstun'], take(WARM_UP))]);
  const before = await relay.settledMemory();
  const holders = await holdAll(count, () => ['wstun'], take);
  const held = perPiece(before, await relay.settledMemory(), count);
  await loseAll(relay, holders);
  const lost = perPiece(before, await relay.settledMemory(), count);
  await stop();
  return { held, lost };
}

/** One after the other: each of them alone keeps relay and client busy. */
async function holdAll(
  count: number,
  argsOf: () => readonly string[],
  invitesFor: (sessions: number) => readonly string[] = () => [],
): Promise<Program[]> {
  const holders: Program[] = [];
  for (let i = 0; i < HOLDERS; i++) holders.push(await hold(count / HOLDERS, argsOf(), invitesFor(count / HOLDERS)));
  return holders;
}

async function hold(count: number, args: readonly string[], invites: readonly string[] = []): Promise<Program> {
  const env = { WSTUN_INVITES: invites.join(' ') };
  const holder = Program.start('sessions', benchFile('sessions.js'), [String(count), ...args], { env });
  await holder.ready(HOLD_LIMIT_MS);
  return holder;
}

/** Kills those that hold connections to a server, and waits until it has closed all of these. */
async function loseAll(server: Program, holders: readonly Program[]): Promise<void> {
  await Promise.all(holders.map((holder) => holder.kill()));
  for (let waited = 0; server.openFiles > OWN_FILES; waited += LOSS_POLL_MS) {
    if (waited > LOSS_LIMIT_MS) throw new Error(`${server.name} still has ${server.openFiles} files open`);
    await delay(LOSS_POLL_MS);
  }
}
