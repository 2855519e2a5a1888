/** Which state directory a command uses, what it asks before it revokes an invite, and which URL an invite has. */
import { mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { shellQuote } from '../../src/cli/shell.ts';
import { decodeInvite } from '../../src/crypto/invite.ts';
import { type Outcome, run } from '../support/programs/programs.ts';
import { WstunProcess, wstun } from '../support/programs/wstun-process.ts';
import { wstunPath } from '../support/programs/wstun-program.ts';
import { invite, spawnClient, startExit, startRelay } from '../support/programs/wstun-stack.ts';
import { tempDir } from '../support/temp-dir.ts';
import { until } from '../support/until.ts';

/** On a terminal, with what is typed there. */
async function typed(
  args: readonly string[],
  input: string,
  env: Readonly<Record<string, string>> = {},
): Promise<Outcome> {
  const command = [process.execPath, wstunPath, ...args].map(shellQuote).join(' ');
  return await run('script', ['-qec', command, '/dev/null'], { input, env });
}

async function keysOf(state: string): Promise<string> {
  return await readFile(join(state, 'identity.key'), 'utf8');
}

/** A relay that has been started, with the invites `default`, `alice` and `bob`, and runs no more. */
async function invited(): Promise<string> {
  const relay = await startRelay();
  for (const name of ['alice', 'bob']) await invite(relay, name);
  await relay.process.kill();
  return relay.state;
}

describe('rotating keys', () => {
  it('`wstun keys rotate` on a terminal asks, names the invites that it revokes, and changes nothing without a yes', async () => {
    const state = await invited();
    const before = await keysOf(state);
    for (const answer of ['n\n', '\n', '', 'wstun access list\n', 'yess\n']) {
      const { code, stdout } = await typed(['keys', 'rotate', '--state', state], answer);
      expect([answer, code]).toEqual([answer, 2]);
      expect(stdout).toContain(
        'revoke 3 invites (default, alice, bob) and end their sessions at once. Continue? [y/N]',
      );
      expect(stdout).toContain('WSTUN-E130');
      expect(await keysOf(state)).toBe(before);
    }
    expect(await typed(['keys', 'rotate', '--state', state], 'y\n')).toMatchObject({ code: 0 });
    expect(await keysOf(state)).not.toBe(before);
  });

  it('`wstun keys rotate` asks nothing with --yes or without a terminal, and --dry-run shows what it would do', async () => {
    const state = await invited();
    const before = await keysOf(state);
    expect(await wstun(['keys', 'rotate', '--dry-run', '--state', state])).toMatchObject({
      code: 0,
      stdout: 'default\nalice\nbob\n',
      stderr: expect.stringContaining('revoke 3 invites (default, alice, bob)'),
    });
    expect(await keysOf(state)).toBe(before);
    const { code, stdout } = await typed(['keys', 'rotate', '--yes', '--state', state], '');
    expect(code).toBe(0);
    expect(stdout).not.toContain('[y/N]');
    expect(await wstun(['keys', 'rotate', '--state', state])).toMatchObject({
      code: 0,
      stdout: 'default\nalice\nbob\n',
    });
  });
});

describe('renewing an invite', () => {
  it('`wstun access renew` on a terminal asks while the old invite is valid, and says which URL the new one has', async () => {
    const state = await invited();
    const list = await readFile(join(state, 'access.toml'), 'utf8');
    const refused = await typed(['access', 'renew', 'alice', '--state', state], 'n\n');
    expect(refused).toMatchObject({ code: 2, stdout: expect.stringContaining('revokes the current invite of alice') });
    expect(await readFile(join(state, 'access.toml'), 'utf8')).toBe(list);
    const renewed = await typed(['access', 'renew', 'alice', '--state', state], 'y\n');
    expect(renewed).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/invite for alice, through ws:\/\/127\.0\.0\.1:\d+\r\n/),
    });
    expect(await typed(['access', 'renew', 'alice', '--yes', '--state', state], '')).toMatchObject({ code: 0 });
    // None of these is good any more.
    await wstun(['keys', 'rotate', '--state', state]);
    const free = await typed(['access', 'renew', 'bob', '--state', state], '');
    expect([free.code, free.stdout.includes('[y/N]')]).toEqual([0, false]);
    expect((await typed(['access', 'renew', 'bob', '--state', state], 'n\n')).code).toBe(2);
    const added = await typed(['access', 'add', 'carol', '--state', state], '');
    expect(added.stdout).toMatch(/^invite for carol, through ws:\/\/127/);
  });
});

describe('without --state', () => {
  const home = async () => {
    const path = await tempDir();
    return { path, env: { XDG_STATE_HOME: path } };
  };

  it('`wstun access` without --state finds the exit of its machine, and the exit prints the whole command', async () => {
    const relay = await startRelay();
    const { path, env } = await home();
    const secret = await invite(relay, 'home', { role: 'exit' });
    const exit = new WstunProcess(['exit'], { env: { ...env, WSTUN_INVITE: secret } });
    await until(() => exit.stderr.includes('Create an invite'));
    const [, line = ''] = /Create an invite with: wstun (.*)/.exec(exit.stderr) ?? [];
    expect(line).toBe(`access add NAME --state ${path}/wstun/exit`);
    const added = await wstun(['access', 'add', 'alice'], { env });
    expect(added).toMatchObject({ code: 0, stderr: '' });
    expect(decodeInvite(added.stdout)).toMatchObject({ exitName: 'home', role: 'client' });
    expect(await wstun(['access', 'list'], { env })).toMatchObject({ code: 0, stdout: 'alice\n' });
    expect(await readdir(join(path, 'wstun'))).toEqual(['exit']);

    // Now a relay beside it.
    const both = await startRelay({ state: join(path, 'wstun/relay') });
    expect(await wstun(['access', 'list'], { env })).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/WSTUN-E128/),
    });
    expect(await wstun(['access', 'list'], { env: { ...env, WSTUN_STATE: both.state } })).toMatchObject({
      stdout: 'default\n',
    });
    await both.process.kill();
  });

  it('an exit quotes the state directory in the command that it prints where the path needs it', async () => {
    const relay = await startRelay();
    const state = join(await tempDir(), "ann's state");
    const secret = await invite(relay, 'home', { role: 'exit' });
    const exit = new WstunProcess(['exit', '--state', state], { env: { WSTUN_INVITE: secret } });
    await until(() => exit.stderr.includes('Create an invite'));
    const [, line = ''] = /Create an invite with: wstun (.*)/.exec(exit.stderr) ?? [];
    const command = `${process.execPath} ${wstunPath} ${line.replace('NAME', 'alice')}`;
    expect(await run('sh', ['-c', command])).toMatchObject({ code: 0, stdout: expect.stringMatching(/^wstun1_/) });
  });

  it('a command that fails or only reads makes no state directory', async () => {
    const { path, env } = await home();
    for (const args of [
      ['access', 'list'],
      ['access', 'remove', 'alice'],
      ['access', 'renew', 'alice', '--url', 'wss://relay.example.org'],
      ['access', 'set', 'alice', '--rate', '1mbit'],
      ['access', 'add', 'alice'],
      ['access', 'add', '../x', '--url', 'wss://relay.example.org'],
      ['access', 'add', 'alice', '--url', 'relay'],
      ['access', 'add', 'alice', '--url', 'wss://relay.example.org', '--allow', '10.0.0.0/64'],
      ['access', 'add', 'alice', '--url', 'wss://relay.example.org', '--quota', 'much'],
      ['access', 'add', 'alice', '--state', join(path, 'elsewhere')],
      ['keys', 'rotate'],
      ['exit'],
      ['exit', 'wstun1_AQDc'],
    ]) {
      const { code, stderr } = await wstun(args, { env });
      expect([args, code === 0, stderr]).toEqual([args, false, expect.stringMatching(/^wstun: .*WSTUN-E1/)]);
      expect([args, await readdir(path)]).toEqual([args, []]);
    }
    expect((await wstun(['exit'], { env })).stderr).toContain('--role exit');
    expect((await wstun(['access', 'add', '../x'], { env })).stderr).toContain('WSTUN-E116');
  });

  it('`wstun access add` says where it makes new keys, and asks on a terminal', async () => {
    const { path, env } = await home();
    const add = ['access', 'add', 'eve', '--url', 'wss://relay.example.org'];
    const asked = await typed(add, 'n\n', env);
    expect(asked).toMatchObject({ code: 2, stdout: expect.stringContaining(`no keys in ${path}/wstun/relay yet`) });
    expect(await readdir(path)).toEqual([]);
    const made = await wstun(add, { env });
    expect(made).toMatchObject({ code: 0, stderr: expect.stringContaining(`wstun relay --state ${path}/wstun/relay`) });
    expect(made.stdout).toMatch(/^wstun1_[\w-]+\n$/);
  });

  it('`wstun access list` says that the list is empty, and where it is', async () => {
    const { path, env } = await home();
    await mkdir(join(path, 'wstun/relay'), { recursive: true, mode: 0o700 });
    const empty = { code: 0, stdout: '', stderr: `the access list in ${path}/wstun/relay is empty\n` };
    expect(await wstun(['access', 'list'], { env })).toMatchObject(empty);
    expect(await wstun(['access', 'list', '--json'], { env })).toMatchObject({ code: 0, stdout: '[]\n', stderr: '' });
  });
});

describe('the URL of a relay', () => {
  it('a relay keeps the URL of an earlier --url, so that later invites have the same one', async () => {
    const relay = await startRelay({ args: ['--url', 'wss://relay.example.org'] });
    await relay.process.kill();
    const again = new WstunProcess(['relay', '--listen', '127.0.0.1:0', '--state', relay.state]);
    await until(() => again.stderr.includes('Create more invites'));
    expect(again.stderr).toContain('clients reach it at wss://relay.example.org (remembered from an earlier --url)');
    expect(again.stderr).toContain(`wstun access add NAME --state ${relay.state}`);
    const renewed = await wstun(['access', 'renew', 'default', '--state', relay.state]);
    expect(decodeInvite(renewed.stdout).relayUrls).toEqual(['wss://relay.example.org']);
    await again.kill();
    const moved = await startRelay({ state: relay.state, args: ['--url', 'ws://127.0.0.1:9'] });
    expect(decodeInvite(await invite(moved, 'bob')).relayUrls).toEqual(['ws://127.0.0.1:9']);
  });

  it('a relay warns of a URL whose scheme does not fit its port', async () => {
    const relay = await startRelay();
    await relay.process.kill();
    const url = `wss://127.0.0.1:${relay.port}`;
    const again = await startRelay({ state: relay.state, port: relay.port, args: ['--url', url] });
    // After the event that it is ready.
    await until(() => again.process.stderr.includes(`clients that use ${url} use TLS, but this relay does not`));
  });
});

describe('an exit', () => {
  it('an exit that gets the invite of another name asks on a terminal, because the invites that it issued would fail', async () => {
    const relay = await startRelay();
    const exit = await startExit({ invite: await invite(relay, 'home', { role: 'exit' }) });
    await invite(exit, 'alice');
    await exit.process.kill();
    const before = await readFile(join(exit.state, 'registration.invite'), 'utf8');
    const other = await invite(relay, 'shed', { role: 'exit' });
    const asked = await typed(['exit', '--state', exit.state], 'n\n', { WSTUN_INVITE: other });
    expect(asked).toMatchObject({ code: 2, stdout: expect.stringContaining('This exit is "home" at ws://127') });
    expect(await readFile(join(exit.state, 'registration.invite'), 'utf8')).toBe(before);
    const renewed = (await wstun(['access', 'renew', 'home', '--state', relay.state])).stdout.trim();
    await (await startExit({ state: exit.state, invite: renewed, args: ['--yes'] })).process.kill();
    await startExit({ state: exit.state, invite: other });
  });

  it('an exit rejects the state directory of a relay, and starts again without its invite', async () => {
    const relay = await startRelay();
    const exit = await startExit({ invite: await invite(relay, 'home', { role: 'exit' }) });
    await exit.process.kill();
    await startExit({ state: exit.state });
    expect(await wstun(['exit', '--state', relay.state])).toMatchObject({ code: 78 });
    await spawnClient(await invite(exit, 'alice')).event('ready');
  });
});
