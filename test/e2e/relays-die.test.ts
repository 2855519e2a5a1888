/**
 * Three relays with the same keys, two exits that are registered at all of them, transfers and ssh sessions through
 * them, while relays die. Five minutes with 32 transfers: WSTUN_LONG=1 npx vitest run test/e2e/relays-die.test.ts
 */
import type { ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { echo, tcpServer } from '../support/net/tcp.ts';
import { exchange } from '../support/payload.ts';
import { runWell, spawnBound } from '../support/programs/programs.ts';
import { type SeveralRelays, startSeveralRelays } from '../support/programs/several-relays.ts';
import { mountSmallDisk, type SmallDisk } from '../support/programs/small-disk.ts';
import { startSshd } from '../support/programs/sshd.ts';
import { wstunPath } from '../support/programs/wstun-program.ts';
import { invite, type RunningClient, startClient, startExit } from '../support/programs/wstun-stack.ts';
import { connectThrough } from '../support/proxy/through-proxy.ts';
import { tempDir } from '../support/temp-dir.ts';
import { until } from '../support/until.ts';

const IS_LONG = process.env.WSTUN_LONG !== undefined;
const RELAYS = 3;
const EVERY_MS = 5_000;
const HARMED_MS = 4_000;
/** Each relay once, at least. */
const FOR_MS = IS_LONG ? 300_000 : (RELAYS + 1) * EVERY_MS;
const TRANSFERS = IS_LONG ? 32 : 8;
const SSH_SESSIONS = IS_LONG ? 10 : 2;
const TRANSFER_BYTES = 4 * 1024 * 1024;
const BEAT_MS = 50;

/** Lines that come back: how long each took. */
class Beats {
  readonly delays: number[] = [];
  private readonly sent = new Map<number, number>();
  private next = 0;
  private text = '';
  private timer: NodeJS.Timeout | undefined;

  /** The first line comes back when whatever is to carry them is there. */
  constructor(private readonly write: (line: string) => void) {
    this.beat();
  }

  get hasBegun(): boolean {
    return this.timer !== undefined;
  }

  receive(chunk: string): void {
    const lines = `${this.text}${chunk}`.split('\n');
    this.text = lines.pop() ?? '';
    for (const line of lines) {
      if (line === '0') {
        this.timer = setInterval(() => this.beat(), BEAT_MS);
        continue;
      }
      const at = this.sent.get(Number(line));
      if (at === undefined) throw new Error(`an unexpected line: ${line}`);
      this.sent.delete(Number(line));
      this.delays.push(performance.now() - at);
    }
  }

  private beat(): void {
    if (this.next > 0) this.sent.set(this.next, performance.now());
    this.write(`${this.next}\n`);
    this.next += 1;
  }

  /** Resolves when all have come back. */
  async stop(): Promise<void> {
    clearInterval(this.timer);
    await until(() => this.sent.size === 0, 20_000);
  }
}

function sshThrough(port: number, sshd: Awaited<ReturnType<typeof startSshd>>): { beats: Beats; child: ChildProcess } {
  const proxy = `ProxyCommand=${process.execPath} ${wstunPath} connect --listen 127.0.0.1:${port} %h %p`;
  const where = ['-p', String(sshd.port), `${sshd.user}@127.0.0.1`];
  const child = spawnBound('ssh', [...sshd.options, '-o', proxy, ...where, 'cat']);
  const beats = new Beats((line) => child.stdin?.write(line));
  child.stdout?.setEncoding('utf8').on('data', (text: string) => beats.receive(text));
  return { beats, child };
}

/** One after the other until the time is over. Returns how many were whole. */
async function transfers(client: RunningClient, target: number, untilMs: number): Promise<number> {
  let count = 0;
  while (performance.now() < untilMs) {
    const { sent, received } = await exchange(await connectThrough('SOCKS5', client.port, target), TRANSFER_BYTES, 1);
    expect(received).toEqual({ bytes: TRANSFER_BYTES, hash: sent });
    count += 1;
  }
  return count;
}

function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}

interface Harmed extends SeveralRelays {
  readonly disks: readonly SmallDisk[];
}

/** Every 5 s, to one relay after the other. */
async function harm(relays: Harmed, once: (relays: Harmed, number: number) => Promise<void>): Promise<void> {
  const end = performance.now() + FOR_MS;
  for (let round = 0; performance.now() + EVERY_MS < end; round++) {
    const next = performance.now() + EVERY_MS;
    await once(relays, round % relays.relays.length);
    await setTimeout(Math.max(0, next - performance.now()));
  }
}

/** Of all packets to and from that port. */
async function dropPackets(change: '-I' | '-D', port: number): Promise<void> {
  for (const end of ['--dport', '--sport'])
    await runWell('iptables', ['-w', change, 'INPUT', '-p', 'tcp', end, String(port), '-j', 'DROP']);
}

const KINDS = {
  'is killed': async ({ relays, restart }: Harmed, number: number) => {
    await relays[number]?.process.kill();
    await restart(number);
  },
  'is stopped for 4 s': async ({ relays }: Harmed, number: number) => {
    const { process } = relays[number] ?? {};
    process?.signal('SIGSTOP');
    await setTimeout(HARMED_MS);
    process?.signal('SIGCONT');
  },
  'is cut off for 4 s': async ({ relays }: Harmed, number: number) => {
    const { port = 0 } = relays[number] ?? {};
    await dropPackets('-I', port);
    await setTimeout(HARMED_MS);
    await dropPackets('-D', port);
  },
  'has a full disk, and is killed with that': async ({ relays, restart, disks }: Harmed, number: number) => {
    await disks[number]?.fill();
    await relays[number]?.process.kill();
    await restart(number);
    await setTimeout(HARMED_MS);
    await disks[number]?.empty();
  },
} as const;

describe('three relays with the same keys', () => {
  it.each(Object.keys(KINDS) as (keyof typeof KINDS)[])(
    'while one relay after the other %s, no byte and no session is lost, and no line waits for long',
    { timeout: FOR_MS + 240_000, tags: ['waits'] },
    async (kind) => {
      const sshd = await startSshd();
      const target = await tcpServer(echo);
      const dirs = await Promise.all(Array.from({ length: RELAYS }, async () => join(await tempDir(), 'state')));
      const disks = await Promise.all(dirs.map((dir) => mountSmallDisk(dir, 1)));
      const relays = await startSeveralRelays(RELAYS, ['home', 'office'], ['--no-exit'], dirs);
      const secrets: string[] = [];
      for (const registration of relays.registrations.values()) {
        const exit = await startExit({ invite: registration });
        secrets.push(await invite(exit, 'alice', { allow: ['127.0.0.1'], sessions: '64' }));
      }
      const clients = await Promise.all([...secrets, ...secrets].map((secret) => startClient(secret)));
      const shells = Array.from({ length: SSH_SESSIONS }, (_, i) => sshThrough(clients[i % 4]?.port ?? 0, sshd));
      await until(() => shells.every(({ beats }) => beats.hasBegun), 20_000);
      const end = performance.now() + FOR_MS;
      const running = Array.from({ length: TRANSFERS }, (_, i) => {
        const client = clients[i % clients.length];
        return client === undefined ? 0 : transfers(client, target, end);
      });
      await harm({ ...relays, disks }, KINDS[kind]);
      const counts = await Promise.all(running);
      for (const { beats } of shells) await beats.stop();
      const delays = shells.flatMap(({ beats }) => beats.delays);
      const events = clients.flatMap(({ process }) => process.events);
      expect(events.filter(({ event }) => event === 'session-lost')).toEqual([]);
      expect(Math.min(...counts)).toBeGreaterThan(0);
      const figures = [0.5, 0.99, 0.999, 1].map((share) => Math.round(percentile(delays, share)));
      if (IS_LONG || process.env.FIGURES !== undefined)
        process.stdout.write(`${kind}: ${counts.reduce((a, b) => a + b, 0)} transfers; lines ms ${figures}\n`);
      expect(figures[3]).toBeLessThan(8_000);
      for (const { child } of shells) expect(child.exitCode).toBeNull();
    },
  );
});
