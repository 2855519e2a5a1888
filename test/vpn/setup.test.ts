/** What is written down of the changes of `wstun vpn`, and what the next start makes of it. */
import { chown, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { restoreVpn } from '../../src/app/vpn.ts';
import { silentLogger } from '../../src/observability/logger.ts';
import { openStateDir } from '../../src/state/state-dir.ts';
import type { VpnFacts } from '../../src/vpn/changes.ts';
import { restore, Setup } from '../../src/vpn/setup.ts';
import { tempDir } from '../support/temp-dir.ts';
import { ModelMachine } from '../support/vpn/model-machine.ts';

const FACTS: VpnFacts = { around: ['51.0.0.1'], ownDnsPort: 5353, ipv6: 'carried' };

async function begin(facts = FACTS) {
  const path = await tempDir();
  const state = await openStateDir(path);
  const machine = new ModelMachine({});
  const file = join(path, 'vpn.json');
  return { state, machine, file, before: machine.describe(), setup: new Setup(state, machine, facts) };
}

/** As if the process that wrote it had been killed. */
async function forgetOwner(file: string): Promise<void> {
  const content = JSON.parse(await readFile(file, 'utf8'));
  await writeFile(file, JSON.stringify({ ...content, owner: { pid: 1, startedAt: 'another' } }));
}

describe('the set-up of wstun vpn', () => {
  it('is undone by the next start when the process was killed, with the addresses that came later', async () => {
    const { state, machine, file, before, setup } = await begin();
    await setup.make();
    expect(await setup.passAround('51.0.0.2')).toBe(true);
    expect(await setup.passAround('51.0.0.2')).toBe(false);
    expect(machine.routeTo('51.0.0.2')).toBe('main');
    await forgetOwner(file);
    expect(await restore(state, machine, silentLogger)).toBe(true);
    expect(machine.describe()).toBe(before);
    expect(await restore(state, machine, silentLogger)).toBe(false);
  });

  it('leaves the machine as it was where a command of it fails, whichever that is', async () => {
    const all = await begin();
    await all.setup.make();
    for (let failAfter = 0; failAfter < all.machine.commands.length; failAfter++) {
      const { machine, before, setup, state } = await begin();
      machine.failAfter = failAfter;
      await expect(setup.make()).rejects.toThrow();
      expect(machine.describe()).toBe(before);
      expect(await state.names()).toEqual([]);
    }
  });

  it('is written down before the first command', async () => {
    const { machine, file, setup } = await begin();
    machine.failAfter = 0;
    let written = '';
    machine.make = async () => {
      written = await readFile(file, 'utf8');
      throw new Error('stop');
    };
    await expect(setup.make()).rejects.toThrow('stop');
    expect(JSON.parse(written)).toMatchObject({ facts: { around: ['51.0.0.1'] } });
  });

  it('cannot be made twice on one machine at the same time', async () => {
    const { state, machine, setup } = await begin();
    await setup.make();
    await expect(restore(state, machine, silentLogger)).rejects.toMatchObject({ fault: 'vpn-running' });
    await setup.undo();
    expect(await restore(state, machine, silentLogger)).toBe(false);
  });

  it('passes 256 addresses around the tunnel, and then removes that of the longest ago', async () => {
    const others = Array.from({ length: 254 }, (_, i) => `52.0.0.${i}`);
    const { machine, setup } = await begin({ ...FACTS, around: ['51.0.0.1', ...others] });
    await setup.make();
    await setup.passAround('53.0.0.1');
    expect(machine.routeTo('51.0.0.1')).toBe('main');
    await setup.passAround('53.0.0.2');
    expect(machine.routeTo('51.0.0.1')).toBe('wstun0');
    expect(machine.routeTo('52.0.0.0')).toBe('main');
    await setup.undo();
    expect(machine.describe()).toBe(new ModelMachine({}).describe());
  });

  it('makes rules again that another program has deleted, and none that are there', async () => {
    const { machine, before, setup } = await begin();
    await setup.make();
    const made = machine.describe();
    expect(await setup.repair()).toBe(false);
    machine.removeRules();
    expect(machine.routeTo('93.184.216.34')).toBe('main');
    expect(await setup.repair()).toBe(true);
    expect(machine.describe()).toBe(made);
    await setup.undo();
    expect(await setup.repair()).toBe(false);
    expect(machine.describe()).toBe(before);
  });

  it.each(['', '{', '{}', '{"owner":{"pid":1},"facts":{"around":[1],"ipv6":"carried"}}'])(
    'runs nothing that a file says which it has not written: %s',
    async (text) => {
      const { state, machine, file } = await begin();
      await writeFile(file, text, { mode: 0o600 });
      expect(await restore(state, machine, silentLogger)).toBe(false);
      expect(machine.commands).toEqual([]);
    },
  );

  it('restores no other file than that of the name servers', async () => {
    const { state, machine, file } = await begin();
    const facts = { ...FACTS, file: { kind: 'file', path: '/etc/passwd', before: 'x', after: '' } };
    await writeFile(file, JSON.stringify({ owner: { pid: 1, startedAt: 'x' }, facts }), { mode: 0o600 });
    expect(await restore(state, machine, silentLogger)).toBe(false);
  });
});

it.skipIf(process.getuid?.() !== 0)('what another user may have written is not undone as root', async () => {
  const path = await tempDir();
  await chown(path, 1, 1);
  await expect(restoreVpn(path, silentLogger)).rejects.toMatchObject({ fault: 'state-unusable' });
  await chown(path, 0, 0);
  expect(await restoreVpn(path, silentLogger)).toBe(false);
});
