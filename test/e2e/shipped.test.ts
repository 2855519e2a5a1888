/**
 * `bin/wstun.js` as it is shipped: each command once. Most other tests of this folder start the same program from few
 * files (test/support/vitest/build-dist.ts), so a module that is missing from dist, or fails to load there, is found here.
 */
import { readdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { expect, it } from 'vitest';
import { echo, tcpServer } from '../support/net/tcp.ts';
import { exchange } from '../support/payload.ts';
import { run, runWell } from '../support/programs/programs.ts';
import { WstunProcess, wstun } from '../support/programs/wstun-process.ts';
import { wstunPath } from '../support/programs/wstun-program.ts';
import { startClient, startRelay } from '../support/programs/wstun-stack.ts';
import { connectThrough } from '../support/proxy/through-proxy.ts';
import { tempDir } from '../support/temp-dir.ts';
import { nextCode } from '../support/tether/tethered.ts';
import { isThere, NEWEST_LINE, nodeProgram } from '../support/vitest/other-nodes.ts';

it('bin/wstun.js runs as a program and prints its version', async () => {
  expect(wstunPath).toMatch(/\/bin\/wstun\.js$/);
  expect((await run(wstunPath, ['--version'])).stdout).toMatch(/^wstun \d+\.\d+\.\d+ /);
});

it('a client does not make Node load its own fetch and WebSocket, which takes longer than the client itself', async () => {
  const list = "data:text/javascript,process.on('exit',()=>process.stderr.write('%20'+process.moduleLoadList.join()))";
  const node = isThere(NEWEST_LINE) ? nodeProgram(NEWEST_LINE) : process.execPath;
  const { code, stderr } = await run(node, [wstunPath, 'client', '--invite-file', '/dev/null'], {
    env: { NODE_OPTIONS: `--import=${list}` },
  });
  expect(code).toBe(2);
  expect(stderr).toContain('NativeModule http,');
  expect(stderr).not.toContain('undici');
});

it('bin/wstun.js quickstart serves its page through the tunnel', async () => {
  const process = new WstunProcess(['quickstart', '--json', '--listen', '127.0.0.1:0']);
  const { listen, url } = await process.event('ready');
  expect(await runWell('curl', ['-sS', '-x', `socks5h://${listen}`, String(url)])).toContain('wstun works');
});

it('bin/wstun.js is relay, exit and client, and each `wstun access` and `wstun keys` command works', async () => {
  const relay = await startRelay();
  const command = async (...args: readonly string[]): Promise<string> => {
    const { code, stdout } = await wstun([...args, '--state', relay.state]);
    expect([args, code]).toEqual([args, 0]);
    return stdout.trim();
  };
  const registration = await command('access', 'add', 'home', '--role', 'exit');
  const exit = new WstunProcess(['exit', '--json', '--state', await tempDir()], {
    env: { WSTUN_INVITE: registration },
  });
  expect(await exit.event('ready')).toMatchObject({ role: 'exit', name: 'home' });
  await command('access', 'add', 'alice');
  await command('access', 'set', 'alice', '--allow', '127.0.0.1');
  const { port } = await startClient(await command('access', 'renew', 'alice', '--yes'));
  const { sent, received } = await exchange(await connectThrough('SOCKS5', port, await tcpServer(echo)), 1_000_000);
  expect(received).toEqual({ bytes: 1_000_000, hash: sent });
  await command('access', 'remove', 'alice');
  expect(await command('access', 'list')).toMatch(/^default\nhome {2}\(exit\)$/);
  expect(await command('keys', 'rotate', '--yes')).toBe('default\nhome');
});

it('bin/wstun.js loads what writes metrics only with --admin', async () => {
  const folder = join(dirname(wstunPath), '../dist/program');
  const files = await readdir(folder);
  const library = files.filter((name) => name.startsWith('prom-client'));
  expect(library.length).toBe(1);
  for (const name of files.filter((each) => each.endsWith('.js'))) {
    const text = await readFile(join(folder, name), 'utf8');
    expect(text, name).not.toMatch(/(?:from|import) ?"\.\/prom-client/);
  }
  const { process } = await startRelay({ args: ['--admin', '127.0.0.1:0'] });
  const text = await runWell('curl', ['-sS', `http://${process.events[0]?.admin}/metrics`]);
  expect(text).toContain('wstun_build_info{role="relay"');
});

it('bin/wstun.js client --tether serves the page that is shipped', async () => {
  const relay = await startRelay();
  const client = new WstunProcess(['client', '--json', '--tether', '127.0.0.1:0', '--no-direct'], {
    env: { WSTUN_INVITE: relay.invite ?? '' },
  });
  expect(await runWell('curl', ['-sS', (await nextCode(client)).replace(/#.*/, '')])).toMatch(/^<!doctype html>/i);
});
