/** `dist/wstun.mjs`: alone in an empty directory, without a package beside or above it, it is all that wstun is. */
import { copyFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { echo, tcpServer } from '../support/net/tcp.ts';
import { exchange } from '../support/payload.ts';
import { runWell } from '../support/programs/programs.ts';
import { WstunProcess, wstun } from '../support/programs/wstun-process.ts';
import { SINGLE_FILE, usePlainProgram } from '../support/programs/wstun-program.ts';
import { invite, startBehindRelay, startClient, startRelay } from '../support/programs/wstun-stack.ts';
import { connectThrough } from '../support/proxy/through-proxy.ts';
import { tempDir } from '../support/temp-dir.ts';
import { nextCode, startScripted } from '../support/tether/tethered.ts';
import { until } from '../support/until.ts';

const BYTES = 1_000_000;
let folder = '';

beforeAll(async () => {
  folder = await tempDir();
  const file = join(folder, 'wstun.mjs');
  await copyFile(SINGLE_FILE, file);
  usePlainProgram(file);
});

async function carries(port: number): Promise<void> {
  const { sent, received } = await exchange(await connectThrough('SOCKS5', port, await tcpServer(echo)), BYTES);
  expect(received).toEqual({ bytes: BYTES, hash: sent });
}

describe('wstun in one file', () => {
  it('prints the version of its build, help, explanations and the manual page', async () => {
    expect((await wstun(['--version'])).stdout).toMatch(/^wstun \d+\.\d+\.\d+ \(/);
    for (const args of [['help', 'files'], ['explain', 'E203'], ['man'], ['completions', 'bash']])
      expect(await wstun(args)).toMatchObject({ code: 0, stderr: '', stdout: expect.stringMatching(/.{20}/) });
    expect(await readdir(folder)).toEqual(['wstun.mjs']);
  });

  it('is a relay that only forwards, an exit behind it, and a client that finds its proxy by a PAC file', async () => {
    const { exit } = await startBehindRelay();
    const file = join(await tempDir(), 'proxy.pac');
    await writeFile(
      file,
      'function FindProxyForURL(url, host) { return dnsDomainIs(host, ".x") ? "PROXY x:1" : "DIRECT"; }',
    );
    const secret = await invite(exit, 'alice', { allow: ['127.0.0.1'] });
    const { port } = await startClient(secret, { args: ['--proxy', `pac+file:${file}`] });
    await carries(port);
  });

  it('has the page of a tether in itself, and a page carries its links', async () => {
    const relay = await startRelay();
    const client = new WstunProcess(['client', '--json', '--tether', '127.0.0.1:0', '--no-direct'], {
      env: { WSTUN_INVITE: relay.invite ?? '' },
    });
    const page = await runWell('curl', ['-sS', (await nextCode(client)).replace(/#.*/, '')]);
    expect(page).toMatch(/^<!doctype html>.*<script>/is);
    await carries((await startScripted()).port);
  });

  it('has the packages that few options need: certificates of its own, those of an authority, a site for strangers', async () => {
    const site = await tempDir();
    await writeFile(join(site, 'index.html'), 'a site\n');
    const relay = await startRelay({ args: ['--tls-self-signed', '--decoy', site] });
    expect(await runWell('curl', ['-sSk', `https://127.0.0.1:${relay.port}/`])).toBe('a site\n');
    await carries((await startClient(await invite(relay, 'alice', { allow: ['127.0.0.1'] }))).port);
    // An authority that does not answer: the package was loaded, and its error understood.
    const acme = ['--acme', 'relay.example.org', '--acme-directory', 'https://127.0.0.1:9/directory'];
    const { process } = await startRelay({ args: acme });
    await until(() => process.stderr.includes('WSTUN-E151'), 20_000);
  });

  it('has what writes the metrics of --admin', async () => {
    const { process } = await startRelay({ args: ['--admin', '127.0.0.1:0'] });
    const text = await runWell('curl', ['-sS', `http://${process.events[0]?.admin}/metrics`]);
    expect(text).toContain('wstun_build_info{role="relay"');
  });

  it('says that a transparent proxy needs what only npm installs', async () => {
    const relay = await startRelay();
    const client = await wstun(['client', '--listen', '127.0.0.1:0', '--redirect', '7892', '--no-keep'], {
      env: { WSTUN_INVITE: relay.invite ?? '' },
    });
    expect(client).toMatchObject({ code: 78, stderr: expect.stringMatching(/koffi is missing.*npm.*WSTUN-E194/s) });
  });

  it('logs for a person in a terminal, and tells of a defect nowhere', async () => {
    const script = `timeout --preserve-status -s INT 6 ${process.execPath} ${join(folder, 'wstun.mjs')} relay --listen 127.0.0.1:0 --state ${join(folder, 'state')}`;
    const shown = await runWell('script', ['-qefc', script, '/dev/null']);
    expect(shown).toContain('the relay is ready');
    expect(shown).not.toMatch(/WSTUN-E900|Error:/);
  });
});
