/** Invites that are kept: given once, pasted at a prompt, several of them, wrong ones, and those handed out in files. */
import { chmod, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { decodeInvite } from '../../src/crypto/invite.ts';
import { Terminal } from '../support/programs/terminal.ts';
import { WstunProcess, wstun } from '../support/programs/wstun-process.ts';
import { invite, spawnClient, startBehindRelay, startRelay } from '../support/programs/wstun-stack.ts';
import { tempDir } from '../support/temp-dir.ts';

interface Home {
  readonly env: Readonly<Record<string, string>>;
  /** Of the kept invites. */
  readonly folder: string;
}

async function newHome(): Promise<Home> {
  const path = await tempDir();
  return { env: { XDG_STATE_HOME: path }, folder: join(path, 'wstun/client/invites') };
}

/** A client until its first session, without and with `--json`. */
async function connects(args: readonly string[], { env }: Home): Promise<string> {
  const client = new WstunProcess(['client', '--listen', '127.0.0.1:0', '--json', ...args], { env });
  await client.event('ready', 30_000);
  client.signal('SIGINT');
  expect(await client.exited).toBe(0);
  return client.stdout;
}

async function profiles({ env }: Home): Promise<Record<string, unknown>[]> {
  const { code, stdout } = await wstun(['profiles', '--json'], { env });
  expect(code).toBe(0);
  return JSON.parse(stdout) as Record<string, unknown>[];
}

describe('wstun client', () => {
  it('keeps the invite that it is given, several under names, and tells which there are', async () => {
    const [home, one, two] = [await newHome(), await startRelay(), await startRelay()];
    const [first, second] = [one.invite ?? '', two.invite ?? ''];
    expect(await wstun(['profiles'], { env: home.env })).toMatchObject({ code: 0, stdout: '' });
    expect(await connects([first], home)).toMatch(/\{"event":"kept","time":"[^"]+","name":"default"\}/);
    expect(await connects([], home)).not.toContain('kept');
    expect((await stat(home.folder)).mode & 0o777).toBe(0o700);
    expect((await stat(join(home.folder, 'default.invite'))).mode & 0o777).toBe(0o600);
    // Somebody else's replaces it neither unasked nor under its name.
    await connects([second], home);
    expect(await readFile(join(home.folder, 'default.invite'), 'utf8')).toBe(`${first}\n`);
    const taken = await wstun(['client', second, '--as', 'default'], { env: home.env });
    expect(taken).toMatchObject({ code: 2, stderr: expect.stringContaining('WSTUN-E163') });
    await connects([second, '--as', 'work'], home);
    await connects(['--as', 'work'], home);
    await connects(['work'], home);
    const unknown = await wstun(['client', '--as', 'wrok'], { env: home.env });
    expect(unknown.stderr).toMatch(/kept are default, work.*WSTUN-E160/);
    expect(await profiles(home)).toMatchObject([
      { name: 'default', relays: [one.url], tried: true },
      { name: 'work', relays: [two.url], tried: true },
    ]);
    expect((await wstun(['profiles'], { env: home.env })).stdout).not.toContain('wstun1_');
    expect(await wstun(['forget', 'default'], { env: home.env })).toMatchObject({ code: 0 });
    // The only one needs no name.
    await connects([], home);
    await connects([first, '--as', 'home'], home);
    expect(await wstun(['client'], { env: home.env })).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/home, work.*WSTUN-E162/),
    });
  });

  it('keeps nothing of $WSTUN_INVITE, of a file, and with --no-keep, and runs where nothing can be kept', async () => {
    const [home, relay] = [await newHome(), await startRelay()];
    const secret = relay.invite ?? '';
    const file = join(await tempDir(), 'invite');
    await writeFile(file, secret);
    await connects([], { ...home, env: { ...home.env, WSTUN_INVITE: secret } });
    await connects(['--invite-file', file], home);
    await connects([secret, '--no-keep'], home);
    expect(await profiles(home)).toEqual([]);
    const blocked = join(await tempDir(), 'file');
    await writeFile(blocked, '');
    const client = new WstunProcess(['client', '--listen', '127.0.0.1:0', secret], {
      env: { XDG_STATE_HOME: blocked },
    });
    await expect.poll(() => client.stderr, { timeout: 30_000 }).toContain('this invite could not be kept');
    await connects(['--invite-file', file, '--as', 'work'], home);
    expect(await profiles(home)).toMatchObject([{ name: 'work' }]);
  });

  it('does not lose the invite that works to one that does not, and replaces it by one that does', async () => {
    const [home, relay] = [await newHome(), await startRelay()];
    const good = await invite(relay, 'alice');
    await connects([good], home);
    // Before the relay was ever reached with it, the machine stops.
    const renewed = await invite(relay, 'alice2', { url: 'ws://127.0.0.1:9' });
    const cut = new WstunProcess(['client', '--listen', '127.0.0.1:0', '--json', renewed], { env: home.env });
    await cut.event('kept', 30_000);
    await cut.kill();
    expect(await profiles(home)).toMatchObject([{ name: 'default', tried: false, replaces: true }]);
    expect(await wstun(['forget', 'default', '--untried'], { env: home.env })).toMatchObject({ code: 0 });
    await connects([], home);
    // From the owner of the same exit, so nobody is asked.
    const other = await invite(relay, 'bob');
    await connects([other], home);
    expect(await readFile(join(home.folder, 'default.invite'), 'utf8')).toBe(`${other}\n`);
    expect(await readdir(home.folder)).toEqual(expect.not.arrayContaining(['default.new']));
  });

  it('names a kept invite that is damaged or open to others, and how to mend it', async () => {
    const home = await newHome();
    await mkdir(home.folder, { recursive: true, mode: 0o700 });
    await writeFile(join(home.folder, 'default.invite'), 'wstun1_half', { mode: 0o600 });
    const damaged = await wstun(['client'], { env: home.env });
    expect(damaged).toMatchObject({ code: 78, stderr: expect.stringMatching(/wstun forget default.*WSTUN-E161/) });
    expect(damaged.stderr).not.toContain('half');
    await chmod(join(home.folder, 'default.invite'), 0o644);
    expect((await wstun(['client'], { env: home.env })).stderr).toContain('chmod 600');
    expect(await profiles(home)).toMatchObject([{ name: 'default', error: { code: 'WSTUN-E161' } }]);
    expect(await wstun(['forget', '../x'], { env: home.env })).toMatchObject({ code: 2 });
    expect(await wstun(['forget', 'default'], { env: home.env })).toMatchObject({ code: 0 });
    expect(await profiles(home)).toEqual([]);
  });
});

describe('on a terminal', () => {
  it('`wstun client` asks for an invite without showing it, finds it in several lines, and keeps it', async () => {
    const [home, one, two] = [await newHome(), await startRelay(), await startRelay()];
    const secret = one.invite ?? '';
    const client = new Terminal(['client', '--listen', '127.0.0.1:0'], home.env);
    await client.answer('Invite: ', 'hello\r');
    await client.answer('WSTUN-E105', `Hi,\r> ${secret.slice(0, 90)}\r`);
    await client.answer('paste the rest', `> ${secret.slice(90)}\r`);
    await client.see('the checksum fits');
    await client.answer('Press Ctrl-C to stop', '\u0003');
    expect(await client.exited).toBe(0);
    for (let at = 0; at + 12 < secret.length; at += 12) expect(client.shown).not.toContain(secret.slice(at, at + 12));
    expect(await profiles(home)).toMatchObject([{ name: 'default', tried: true }]);

    const other = new Terminal(['client', '--listen', '127.0.0.1:0', two.invite ?? ''], home.env);
    await other.answer('Replace it? [y/N]', 'n\r');
    await other.see('used now, but not kept');
    await other.answer('Press Ctrl-C to stop', '\u0003');
    expect(await other.exited).toBe(0);
    expect(await profiles(home)).toMatchObject([{ relays: [one.url] }]);
  });

  it('`wstun client` gives up after three tries, and Ctrl-C ends it at the prompt', async () => {
    const home = await newHome();
    const client = new Terminal(['client'], home.env);
    await client.see('Invite: ');
    for (const text of ['try 0\r', 'try 1\r', 'try 2\r']) {
      await client.answer('', text);
      await client.see('WSTUN-E105');
    }
    expect(await client.exited).toBe(2);
    expect(client.shown.split('WSTUN-E105')).toHaveLength(4);
    expect(client.shown).not.toContain('try 1');
    const cancelled = new Terminal(['exit'], home.env);
    await cancelled.answer('Invite: ', '\u0003');
    expect(await cancelled.exited).not.toBe(0);
    expect(await readdir(home.env.XDG_STATE_HOME ?? '')).toEqual([]);
  });

  it('`wstun exit` asks for its invite once, and rejects that of a client', async () => {
    const { relay } = await startBehindRelay();
    const home = await newHome();
    const secret = await invite(relay, 'shed', { role: 'exit' });
    const exit = new Terminal(['exit'], home.env);
    await exit.answer('Invite: ', `${relay.invite ?? (await invite(relay, 'ann'))}\r`);
    await exit.answer('WSTUN-E127', `${secret}\r`);
    await exit.see('is registered');
    await exit.see(`are in ${home.env.XDG_STATE_HOME}/wstun/exit.`);
    const wrong = await wstun(['client', '--no-keep', secret], { env: home.env });
    expect(wrong).toMatchObject({ code: 2, stderr: expect.stringContaining('WSTUN-E126') });
  });

  it('`wstun access` says on a terminal what to do with an invite, and shows the list as a table', async () => {
    const relay = await startRelay();
    const state = ['--state', relay.state];
    const add = new Terminal(['access', 'add', 'ann', '--quota', '100GB', '--qr', ...state]);
    await add.see('It allows public addresses only.');
    await add.see('Send ann this line. It is a secret, and cannot be shown again:');
    await add.see('wstun client wstun1_');
    expect(await add.exited).toBe(0);
    const list = new Terminal(['access', 'ls', ...state]);
    expect(await list.exited).toBe(0);
    expect(list.shown).toMatch(/^NAME {5}ALLOWED {11}LIMITS {2}USED\r\n/);
    expect(list.shown).toMatch(/\r\nann {6}public addresses {2}– {7}0\.0 MB of 100 GB in [A-Z][a-z]+\r\n/);
    const remove = new Terminal(['access', 'rm', 'ann', ...state]);
    await remove.see('ann was removed');
  });
});

describe('invites in files', () => {
  it('`wstun access` writes an invite to a new file of one’s own, or changes nothing', async () => {
    const relay = await startRelay();
    const state = ['--state', relay.state];
    const out = join(await tempDir(), 'ann.invite');
    const added = await wstun(['access', 'add', 'ann', '--allow', '10.0.0.0/8', '--out', out, '--json', ...state]);
    expect(JSON.parse(added.stdout)).toEqual({ name: 'ann', role: 'client', relays: [relay.url], file: out });
    expect((await stat(out)).mode & 0o777).toBe(0o600);
    await spawnClient(await readFile(out, 'utf8')).event('ready', 30_000);
    const list = await readFile(join(relay.state, 'access.toml'), 'utf8');
    for (const [args, code] of [
      [['add', 'bob', '--out', out], 'E165'],
      [['renew', 'ann', '--out', '/does/not/exist/ann'], 'E166'],
      [['add', 'bob', '--out', out, '--qr'], 'E101'],
    ] as const) {
      const { stderr, stdout } = await wstun(['access', ...args, ...state]);
      expect([stdout, stderr]).toEqual(['', expect.stringContaining(code)]);
    }
    expect(await readFile(join(relay.state, 'access.toml'), 'utf8')).toBe(list);
    const shown = await wstun(['access', 'show', 'ann', '--json', ...state]);
    expect(JSON.parse(shown.stdout)).toMatchObject({
      name: 'ann',
      allow: ['10.0.0.0/8'],
      used: 0,
      inviteIsValid: true,
    });
    expect((await wstun(['access', 'show', 'ann', ...state])).stdout).toContain('public addresses, 10.0.0.0/8');
    expect(await wstun(['access', 'show', 'bob', ...state])).toMatchObject({ code: 2 });
  });

  it('`wstun keys rotate --renew-all` writes a new invite for every name, or changes nothing', async () => {
    const { relay, exit } = await startBehindRelay();
    for (const each of [relay, exit]) {
      await invite(each, 'ann', { quota: '1GB' });
      const rotate = ['keys', 'rotate', '--renew-all', '--state', each.state];
      const folder = join(await tempDir(), 'new');
      const files = ['identity.key', 'access.toml'].map((name) => join(each.state, name));
      const read = () => Promise.all(files.map((file) => readFile(file, 'utf8')));
      const before = await read();
      await mkdir(folder, { mode: 0o700 });
      await writeFile(join(folder, 'ann.invite'), '');
      expect((await wstun([...rotate, '--out', folder])).stderr).toContain('WSTUN-E165');
      expect((await wstun(rotate)).stderr).toContain('WSTUN-E101');
      expect([await read(), await readdir(folder)]).toEqual([before, ['ann.invite']]);
      const fresh = join(folder, 'fresh');
      const done = await wstun([...rotate, '--out', fresh, '--json']);
      const { revoked } = JSON.parse(done.stdout) as { revoked: string[] };
      expect(revoked).toContain('ann');
      expect(new Set(await readdir(fresh))).toEqual(new Set(revoked.map((name) => `${name}.invite`)));
      expect((await stat(join(fresh, 'ann.invite'))).mode & 0o777).toBe(0o600);
      const after = await read();
      expect(after.map((text, at) => text === before[at])).toEqual([false, false]);
      expect(after[1]).toContain('quota = "1GB"');
      const text = await readFile(join(fresh, 'ann.invite'), 'utf8');
      expect(decodeInvite(text).exitName).toBe(each === exit ? 'home' : undefined);
    }
  });
});
