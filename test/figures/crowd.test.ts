/**
 * A thousand clients of one named exit: at once, after a restart of their relay, and beside one of them that opens and
 * drops links. They are real sessions in this process; relay and exit are processes. `FIGURES=1` prints what was
 * measured.
 */
import { readFileSync } from 'node:fs';
import { expect, it, onTestFinished } from 'vitest';
import { decodeInvite, type Invite } from '../../src/crypto/invite.ts';
import { createIdentity } from '../../src/crypto/keys.ts';
import { parseListenRule } from '../../src/exit/listen/listen-rules.ts';
import { parseRule } from '../../src/exit/rules.ts';
import { silentLogger } from '../../src/observability/logger.ts';
import { AccessFile } from '../../src/state/access-file.ts';
import { addEntry } from '../../src/state/access-list.ts';
import { loadOrCreateIdentity } from '../../src/state/identity-file.ts';
import { openStateDir } from '../../src/state/state-dir.ts';
import { RelaySessionDialer } from '../../src/tunnel/dial/session-dialer.ts';
import { TicketDialer } from '../../src/tunnel/dial/ticket-dialer.ts';
import { TunnelClient } from '../../src/tunnel/session/tunnel-client.ts';
import { invite, type RunningExit, type RunningRelay, startExit, startRelay } from '../support/programs/wstun-stack.ts';
import { tempDir } from '../support/temp-dir.ts';
import { until } from '../support/until.ts';

const PARSERS = { allow: parseRule, listen: parseListenRule };

const CLIENTS = 1_000;
const BACK_WITHIN_MS = 60_000;
const HOSTILE_LINKS = 5_000;
/** At once: one process cannot open them much faster. */
const HOSTILE_AT_ONCE = 64;
/** How long another client may have to wait. */
const HURT_MS = 5_000;

interface Crowd {
  readonly relay: RunningRelay;
  readonly exit: RunningExit;
  readonly invites: readonly Invite[];
}

/** A relay without an exit of its own, the exit `home`, and as many invites to that. */
async function startCrowd(count: number): Promise<Crowd> {
  const relay = await startRelay({ args: ['--no-exit'] });
  const registration = await invite(relay, 'home', { role: 'exit' });
  const state = await openStateDir(await tempDir());
  const { identity } = await loadOrCreateIdentity(state);
  const peers = Array.from({ length: count }, () => createIdentity());
  const entries = peers.map(({ public: key }, i) =>
    addEntry(undefined, { name: `client${i}`, key, role: 'client', allow: [] }, PARSERS),
  );
  await state.write('access.toml', entries.join('\n'));
  expect(await new AccessFile(state, PARSERS).read()).toHaveLength(count);
  const exit = await startExit({ state: state.path, invite: registration });
  const { relayUrls, relayGateKey } = decodeInvite(registration);
  const issuer = { relayUrls, relayGateKey, exitSessionKey: identity.public.session, exitName: 'home' };
  return { relay, exit, invites: peers.map((peer) => ({ ...issuer, peer })) };
}

/** Clients that stay, each with the time at which it was last connected, and undefined while it has no link. */
class Clients {
  readonly failures = new Map<string, number>();
  readonly final: string[] = [];
  private readonly standing: (number | undefined)[] = [];

  constructor(invites: readonly Invite[]) {
    for (const [i, one] of invites.entries()) this.run(i, one);
  }

  get count(): number {
    return this.standing.filter((at) => at !== undefined).length;
  }

  /** When each was connected last, sorted. */
  get times(): number[] {
    return this.standing.flatMap((at) => at ?? []).sort((a, b) => a - b);
  }

  private run(i: number, one: Invite): void {
    const set = (at: number | undefined): void => {
      this.standing[i] = at;
    };
    const client = new TunnelClient(
      new RelaySessionDialer(one, 'on', silentLogger),
      {
        onConnected: () => set(performance.now()),
        onResumed: () => set(performance.now()),
        onLinkLost: () => set(undefined),
        onSessionLost: () => set(undefined),
        onFailed: ({ fault }) => void this.failures.set(fault, (this.failures.get(fault) ?? 0) + 1),
      },
      silentLogger,
    );
    onTestFinished(() => client.close(0));
    client.run().catch((error: unknown) => this.final.push(String(error)));
  }
}

/** Processor time so far, ms (proc(5): in ticks of 10 ms). */
function cpuMs({ process: { pid } }: RunningRelay | RunningExit): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1')
    .replace(/^.*\) /, '')
    .split(' ');
  return 10 * (Number(fields[11]) + Number(fields[12]));
}

function say(what: string, since: number, clients: Clients, costs: string): void {
  if (process.env.FIGURES === undefined) return;
  const { times, failures } = clients;
  const at = (share: number): string =>
    `${(((times[Math.floor(share * (times.length - 1))] ?? 0) - since) / 1000).toFixed(1)} s`;
  const faults = JSON.stringify(Object.fromEntries(failures));
  process.stderr.write(
    `${what}: half ${at(0.5)}, 99 % ${at(0.99)}, all ${at(1)}; ${costs}; failed attempts ${faults}\n`,
  );
}

it('a thousand clients of one exit connect at once, and again within a minute after a restart of their relay', async () => {
  const { relay, exit, invites } = await startCrowd(CLIENTS);
  const begun = performance.now();
  const clients = new Clients(invites);
  await until(() => clients.count === CLIENTS, BACK_WITHIN_MS);
  say(`${CLIENTS} clients at once`, begun, clients, `relay ${cpuMs(relay)} ms, exit ${cpuMs(exit)} ms of a core`);
  clients.failures.clear();
  await relay.process.kill();
  await until(() => clients.count === 0);
  const again = await startRelay({ args: ['--no-exit'], state: relay.state, port: relay.port });
  const restarted = performance.now();
  const before = cpuMs(exit);
  await until(() => clients.count === CLIENTS, BACK_WITHIN_MS);
  say('after a restart', restarted, clients, `relay ${cpuMs(again)} ms, exit ${cpuMs(exit) - before} ms of a core`);
  expect(clients.final).toEqual([]);
}, 200_000);

it('one client that opens and drops 5,000 links makes no other client of its exit wait for 5 s', async () => {
  const { relay, exit, invites } = await startCrowd(120);
  const [hostile, ...others] = invites;
  if (hostile === undefined) throw new Error('no invite');
  const standing = new Clients(others.slice(0, 50));
  await until(() => standing.count === 50, 20_000);
  const before = { relay: cpuMs(relay), exit: cpuMs(exit) };
  const since = performance.now();
  const opening = openAndDrop(hostile);
  let isOver = false;
  void opening.finally(() => {
    isOver = true;
  });
  const waits: number[] = [];
  for (const one of others.slice(50)) {
    if (isOver && waits.length >= 5) break;
    const begun = performance.now();
    const client = new Clients([one]);
    await until(() => client.count === 1, 2 * HURT_MS);
    waits.push(performance.now() - begun);
  }
  const opened = await opening;
  if (process.env.FIGURES !== undefined) {
    const took = ((performance.now() - since) / 1000).toFixed(1);
    const costs = `relay ${cpuMs(relay) - before.relay} ms, exit ${cpuMs(exit) - before.exit} ms of a core`;
    process.stderr.write(
      `beside ${opened} of ${HOSTILE_LINKS} links opened and dropped in ${took} s (${costs}): ${waits.length} clients began, the slowest after ${Math.round(Math.max(...waits))} ms\n`,
    );
  }
  expect(Math.max(...waits)).toBeLessThan(HURT_MS);
  expect([standing.count, standing.final]).toEqual([50, []]);
  expect(exit.process.events.filter(({ event }) => event === 'retrying' || event === 'link-lost')).toEqual([]);
}, 200_000);

/** Returns how many opened. */
async function openAndDrop(one: Invite): Promise<number> {
  const dialer = new TicketDialer(one, silentLogger);
  let left = HOSTILE_LINKS;
  let opened = 0;
  const worker = async (): Promise<void> => {
    while (left-- > 0) {
      const link = await dialer
        .dial(one.relayUrls[0] ?? '', { role: 'client', destination: 'home' }, { signal: new AbortController().signal })
        .catch(() => undefined);
      link?.setHandler({ handleMessage() {}, handleDrain() {}, handleClose() {} });
      link?.abort();
      if (link !== undefined) opened += 1;
    }
  };
  await Promise.all(Array.from({ length: HOSTILE_AT_ONCE }, worker));
  return opened;
}
