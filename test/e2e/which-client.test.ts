/**
 * @module-tag waits
 *
 * Which client `wstun run`, `env` and `browser` use: the one that runs, found by its control socket wherever it listens,
 * or one that they start with the invite that `wstun client` would use.
 */
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Outcome } from '../support/programs/programs.ts';
import { Terminal } from '../support/programs/terminal.ts';
import { WstunProcess, wstun } from '../support/programs/wstun-process.ts';
import { invite, startRelay } from '../support/programs/wstun-stack.ts';
import { tempDir } from '../support/temp-dir.ts';
import { until } from '../support/until.ts';

type Env = Readonly<Record<string, string>>;

const newHome = async (): Promise<Env> => ({ XDG_STATE_HOME: await tempDir() });

interface Running {
  readonly process: WstunProcess;
  /** Of its proxy. */
  readonly address: string;
}

/** A client that is connected, and answers at its control socket. */
async function clientOf(env: Env, args: readonly string[], listen = '127.0.0.1:0'): Promise<Running> {
  const process = new WstunProcess(['client', '--listen', listen, '--json', '-v', ...args], { env });
  const { listen: address } = await process.event('ready', 30_000);
  await until(() => /control socket (?:is open|cannot be opened)/.test(process.stderr), 30_000);
  return { process, address: String(address) };
}

/** Keeps an invite, by a client that ends at once. */
async function keep(env: Env, args: readonly string[]): Promise<void> {
  const { process } = await clientOf(env, args);
  process.signal('SIGINT');
  expect(await process.exited).toBe(0);
}

const runs = (env: Env, args: readonly string[], program: readonly string[]): Promise<Outcome> =>
  wstun(['run', ...args, '--', ...program], { env, limitMs: 40_000 });

/** The proxy's own page, which names the relay. */
const OWN_PAGE = ['curl', '-sS', 'http://wstun.internal/'];
/** Which proxy the program was given. */
const GIVEN = ['sh', '-c', 'echo "$WSTUN_ENV"'];

describe('where no client runs', () => {
  it('`wstun run` starts one with the kept invite that `wstun client` would use, or with the one that --as names', async () => {
    const [env, one, two] = [await newHome(), await startRelay(), await startRelay()];
    const none = await runs(env, [], GIVEN);
    expect(none).toMatchObject({
      code: 2,
      stdout: '',
      stderr: expect.stringMatching(/wstun client INVITE.*WSTUN-E108/),
    });
    await keep(env, [one.invite ?? '']);
    const usual = await runs(env, [], OWN_PAGE);
    expect(usual).toMatchObject({ code: 0, stderr: '', stdout: expect.stringContaining(`127.0.0.1:${one.port}`) });
    await keep(env, [two.invite ?? '', '--as', 'work']);
    const named = await runs(env, ['--as', 'Work'], OWN_PAGE);
    expect(named).toMatchObject({ code: 0, stdout: expect.stringContaining(`127.0.0.1:${two.port}`) });
    expect(named.stderr).toContain('using the invite kept as "work"');
    expect(await runs(env, ['--as', 'wrok'], GIVEN)).toMatchObject({
      ...{ code: 2, stdout: '' },
      stderr: expect.stringMatching(/kept are default, work.*WSTUN-E160/),
    });
    await keep(env, [one.invite ?? '', '--as', 'home']);
    expect(await wstun(['forget', 'default'], { env })).toMatchObject({ code: 0 });
    const [several, ofClient] = [await runs(env, [], GIVEN), await wstun(['client'], { env })];
    expect(several).toMatchObject({ code: 2, stdout: '', stderr: expect.stringMatching(/home, work.*WSTUN-E162/) });
    expect(several.stderr).toBe(ofClient.stderr);
    const configured = await runs({ ...env, WSTUN_AS: 'home' }, [], OWN_PAGE);
    expect(configured).toMatchObject({ code: 0, stdout: expect.stringContaining(`127.0.0.1:${one.port}`) });
    const noEnv = await wstun(['env', '--as', 'work'], { env });
    expect(noEnv).toMatchObject({ code: 69, stdout: '', stderr: expect.stringContaining('wstun client --as work') });
  });

  it('in a terminal `wstun run` asks for the invite, keeps it, and the program has the terminal afterwards', async () => {
    const [env, relay] = [await newHome(), await startRelay()];
    const asked = new Terminal(['run', '--', 'sh', '-c', 'echo started; read line; echo "got=$line"'], env);
    await asked.answer('Invite: ', `${relay.invite}\r`);
    await asked.answer('started', 'typed\r');
    await asked.see('got=typed');
    expect(await asked.exited).toBe(0);
    expect(asked.shown).not.toContain('wstun1_');
    const { stdout } = await wstun(['profiles', '--json'], { env });
    expect(JSON.parse(stdout)).toMatchObject([{ name: 'default', tried: true, relays: [relay.url] }]);
    const cancelled = new Terminal(['run', '--', 'echo', 'started'], await newHome());
    await cancelled.answer('Invite: ', '\u0003');
    expect(await cancelled.exited).not.toBe(0);
    expect(cancelled.shown).not.toContain('started');
  });
});

describe('with clients that run', () => {
  it('one is found wherever it listens, of several the one that --as, --listen or the configuration names', async () => {
    const [env, relay] = [await newHome(), await startRelay()];
    const home = await clientOf(env, [await invite(relay, 'ann'), '--as', 'home']);
    expect(await runs(env, [], GIVEN)).toMatchObject({ code: 0, stdout: `${home.address}\n`, stderr: '' });
    const lines = await wstun(['env'], { env });
    expect(lines).toMatchObject({
      code: 0,
      stdout: expect.stringContaining(`socks5h://${home.address}\n`),
      stderr: '',
    });

    const work = await clientOf(env, [await invite(relay, 'bob'), '--as', 'work', '--user', 'me:secret'], '0.0.0.0:0');
    const workAt = work.address.replace('0.0.0.0', '127.0.0.1');
    const both = `several clients run: ${[
      [home.process.pid, `${home.address} (home)`] as const,
      [work.process.pid, `${workAt} (work)`] as const,
    ]
      .sort(([a], [b]) => a - b)
      .map(([, text]) => text)
      .join(', ')}`;
    for (const outcome of [await runs(env, [], GIVEN), await wstun(['env'], { env })]) {
      expect(outcome).toMatchObject({ code: 2, stdout: '', stderr: expect.stringContaining(both) });
      expect(outcome.stderr).toContain('--as NAME or --listen HOST:PORT');
    }
    expect((await wstun(['status'], { env })).stdout).toContain('kept as "work"');
    expect(await runs(env, ['--as', 'home'], GIVEN)).toMatchObject({ code: 0, stdout: `${home.address}\n` });
    expect(await runs(env, ['--listen', home.address], GIVEN)).toMatchObject({ stdout: `${home.address}\n` });
    expect(await runs({ ...env, WSTUN_LISTEN: home.address }, [], GIVEN)).toMatchObject({
      stdout: `${home.address}\n`,
    });
    expect(await runs(env, ['--as', 'work'], GIVEN)).toMatchObject({ code: 2, stderr: expect.stringMatching(/E183/) });
    const withPassword = { ...env, WSTUN_AS: 'work', WSTUN_USER: 'me:secret' };
    expect(await runs(withPassword, [], GIVEN)).toMatchObject({ code: 0, stdout: `${workAt}\n` });
    expect(await runs(env, ['--as', 'x', '--listen', workAt], GIVEN)).toMatchObject({
      ...{ code: 2, stdout: '' },
      stderr: expect.stringContaining('WSTUN-E101'),
    });

    // Killed, it leaves its socket behind.
    await home.process.kill();
    expect(await runs({ ...env, WSTUN_USER: 'me:secret' }, [], GIVEN)).toMatchObject({ stdout: `${workAt}\n` });
    const started = await runs(env, ['--as', 'home'], GIVEN);
    expect(started).toMatchObject({ code: 0, stdout: expect.stringMatching(/^127\.0\.0\.1:\d+\n$/) });
    expect(started.stdout).not.toContain(workAt);
  });

  it('one without a control socket is found at the address that the configuration names', async () => {
    const [env, relay] = [await newHome(), await startRelay()];
    const control = join(env.XDG_STATE_HOME ?? '', 'wstun/client/control');
    await mkdir(control, { recursive: true, mode: 0o700 });
    await chmod(control, 0o770);
    const { address } = await clientOf(env, [relay.invite ?? '', '--no-keep']);
    expect(await runs({ ...env, WSTUN_LISTEN: address }, [], GIVEN)).toMatchObject({
      ...{ code: 0, stdout: `${address}\n`, stderr: '' },
    });
    const config = join(await tempDir(), 'wstun.toml');
    await writeFile(config, `[client]\nlisten = "${address}"\n`);
    const lines = await wstun(['env'], { env: { ...env, WSTUN_CONFIG: config } });
    expect(lines).toMatchObject({ code: 0, stdout: expect.stringContaining(`socks5h://${address}\n`), stderr: '' });
  });
});
