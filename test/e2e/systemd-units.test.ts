/**
 * The units of docs/systemd: systemd accepts them, they restrict the service, and wstun accepts their commands.
 */
import { chmod, copyFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { run } from '../support/programs/programs.ts';
import { WstunProcess } from '../support/programs/wstun-process.ts';
import { invite, startRelay } from '../support/programs/wstun-stack.ts';
import { tempDir } from '../support/temp-dir.ts';

const UNITS = join(import.meta.dirname, '../../docs/systemd');
const WSTUN = '/usr/bin/env wstun';
const SERVICES = ['wstun-relay', 'wstun-exit', 'wstun-client'] as const;
/** Of `systemd-analyze security`, in tenths. */
const MAX_EXPOSURE = 35;

function read(name: string): Promise<string> {
  return readFile(join(UNITS, name), 'utf8');
}

/** A copy of the unit whose program exists here, as systemd-analyze asks for. */
async function installed(directory: string, name: string): Promise<string> {
  const program = join(directory, 'wstun');
  await writeFile(program, '#!/bin/sh\n');
  await chmod(program, 0o755);
  const path = join(directory, name);
  await writeFile(path, (await read(name)).replace(WSTUN, program));
  return path;
}

/** The arguments that the unit gives to wstun. @param state in place of systemd's `%S` */
async function argumentsOf(service: string, state: string): Promise<string[]> {
  const line = /^ExecStart=(.*)$/m.exec(await read(`${service}.service`))?.[1] ?? '';
  expect(line.startsWith(`${WSTUN} `)).toBe(true);
  // A free port, so that tests can run side by side.
  const words = line
    .slice(WSTUN.length + 1)
    .replace('%S', state)
    .replace(/127\.0\.0\.1:\d+/, '127.0.0.1:0');
  return [...words.split(' '), '--json'];
}

describe('systemd-analyze', () => {
  it('systemd-analyze verify finds no fault in the units', async () => {
    const directory = await tempDir();
    const paths = await Promise.all(SERVICES.map((service) => installed(directory, `${service}.service`)));
    const socket = join(directory, 'wstun-relay.socket');
    await copyFile(join(UNITS, 'wstun-relay.socket'), socket);
    const { code, stdout, stderr } = await run('systemd-analyze', ['verify', '--man=no', ...paths, socket]);
    expect([code, stdout, stderr]).toEqual([0, '', '']);
  });

  it.each(SERVICES)('systemd-analyze security rates the exposure of %s at 3.5 or less', async (service) => {
    const path = await installed(await tempDir(), `${service}.service`);
    const args = ['security', '--no-pager', '--offline=true', `--threshold=${MAX_EXPOSURE}`, path];
    const { code, stdout } = await run('systemd-analyze', args);
    expect(stdout).toMatch(/Overall exposure level/);
    expect(code).toBe(0);
  });
});

describe('the command of a unit', () => {
  it('the unit of a relay starts one, and keeps the first invite out of the journal', async () => {
    const relay = new WstunProcess(await argumentsOf('wstun-relay', await tempDir()));
    expect(await relay.event('ready')).toMatchObject({ role: 'relay', url: 'wss://relay.example.org' });
    expect(await read('wstun-relay.service')).toMatch(/^StandardOutput=null$/m);
  });

  it('the units of an exit and a client start them with invites from the environment', async () => {
    const relay = await startRelay();
    const home = await invite(relay, 'home', { role: 'exit' });
    const exit = new WstunProcess(await argumentsOf('wstun-exit', await tempDir()), { env: { WSTUN_INVITE: home } });
    expect(await exit.event('ready')).toMatchObject({ role: 'exit', name: 'home' });
    const env = { WSTUN_INVITE: await invite(relay, 'alice') };
    const client = new WstunProcess(await argumentsOf('wstun-client', await tempDir()), { env });
    expect(await client.event('ready')).toMatchObject({ role: 'client' });
    for (const name of ['exit', 'client']) expect(await read(`wstun-${name}.service`)).toMatch(/^EnvironmentFile=/m);
  });

  it.each(SERVICES)(
    'the unit of %s restarts it without end, but not after errors that a restart cannot repair',
    async (service) => {
      const unit = await read(`${service}.service`);
      for (const line of ['Restart=always', 'RestartSec=2', 'StartLimitIntervalSec=0', 'TimeoutStopSec=40'])
        expect(unit.split('\n')).toContain(line);
      expect(unit).toMatch(/^RestartPreventExitStatus=2 (76 77 )?78$/m);
    },
  );
});
