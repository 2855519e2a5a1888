/** @module-tag waits */
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { exitHere, findState, findStateToAdd, type Surroundings, stateArgument } from '../../src/cli/find-state.ts';
import { shellQuote } from '../../src/cli/shell.ts';
import { WstunError } from '../../src/errors.ts';
import { faultOf } from '../support/faults.ts';
import { runWell } from '../support/programs/programs.ts';
import { tempDir } from '../support/temp-dir.ts';

let base = '';
let here: Surroundings;
const at = (path: string) => join(base, path);
const RELAY = 'home/wstun/relay';
const EXIT = 'home/wstun/exit';

beforeEach(async () => {
  base = await tempDir();
  here = {
    env: { XDG_STATE_HOME: at('home') },
    services: [at('lib'), at('lib/private')],
    passwd: at('passwd'),
  };
});

async function keysIn(...paths: readonly string[]): Promise<void> {
  for (const path of paths) {
    await mkdir(at(path), { recursive: true });
    await writeFile(at(`${path}/identity.key`), '');
  }
}

function messageOf(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (error instanceof WstunError) return error.message;
  }
  throw new Error('no fault');
}

describe('the state directory of a command without --state', () => {
  it('a command without --state uses the one directory that has keys, of a relay or of an exit', async () => {
    await keysIn(EXIT);
    await mkdir(at(RELAY), { recursive: true });
    expect(findState({}, here)).toBe(at(EXIT));
    expect(findStateToAdd({}, here)).toEqual({ path: at(EXIT), isNew: false });
    await keysIn(RELAY);
    expect(findState({ state: at(EXIT) }, here)).toBe(at(EXIT));
  });

  it('a command without --state rejects two directories with keys and names both, but an exit can only be added at a relay', async () => {
    await keysIn(RELAY, EXIT);
    for (const work of [() => findState({}, here), () => findStateToAdd({}, here)]) {
      expect(faultOf(work)).toBe('state-ambiguous');
      const message = messageOf(work);
      for (const part of [at(RELAY), at(EXIT), '--state DIR']) expect(message).toContain(part);
    }
    expect(findStateToAdd({ role: 'exit' }, here)).toEqual({ path: at(RELAY), isNew: false });
  });

  it('only `access add` may create keys where there are none, and looking for them creates nothing', async () => {
    expect(faultOf(() => findState({}, here))).toBe('state-missing');
    expect(messageOf(() => findState({}, here))).toContain(at(RELAY));
    expect(findStateToAdd({}, here)).toEqual({ path: at(RELAY), isNew: true });
    expect(findStateToAdd({ state: at('own') }, here)).toEqual({ path: at('own'), isNew: true });
    await mkdir(at(RELAY), { recursive: true });
    expect(findState({}, here)).toBe(at(RELAY));
  });

  it('`access add` names the state directory of a service, or of the user of sudo, instead of creating another one', async () => {
    await keysIn('lib/private/wstun');
    await symlink(at('lib/private/wstun'), at('lib/wstun'));
    for (const work of [() => findState({}, here), () => findStateToAdd({}, here)]) {
      expect(faultOf(work)).toBe('state-missing');
      expect(messageOf(work)).toContain(`there is a state directory at ${at('lib/wstun')}.`);
    }
    await keysIn('lib/wstun-exit', 'users/ann/.local/state/wstun/relay');
    await writeFile(at('passwd'), `root:x:0:0::/root:/bin/sh\nann:x:1000:1000::${at('users/ann')}:/bin/sh\n`);
    const message = messageOf(() => findState({}, { ...here, env: { ...here.env, SUDO_USER: 'ann' } }));
    expect(message).toContain(at('lib/wstun-exit'));
    expect(message).toContain(at('users/ann/.local/state/wstun/relay'));
    expect(messageOf(() => findState({}, here))).not.toContain('ann');
    await keysIn(RELAY);
    expect(findState({}, here)).toBe(at(RELAY));
  });
});

describe('a printed command', () => {
  it('a printed command has --state if it would not find the directory without it', async () => {
    await keysIn(RELAY);
    expect(stateArgument(at(RELAY), here)).toBe('');
    expect(stateArgument('/var/lib/wstun', here)).toBe(' --state /var/lib/wstun');
    expect(exitHere(here)).toBeUndefined();
    await keysIn(EXIT);
    expect(stateArgument(at(RELAY), here)).toBe(` --state ${shellQuote(at(RELAY))}`);
    expect(exitHere(here)).toBe(at(EXIT));
    expect(dirname(at(EXIT))).toBe(dirname(at(RELAY)));
  });

  it.each([
    '/var/lib/wstun',
    '/home/ann b/state',
    "/it's/here",
    '/a$(id)/`b`',
    '~/x',
    '/a*?[b]',
    '',
    '/ümlaut',
    '/a\nb',
  ])('a printed command quotes %j so that a shell reads it as one word', async (word) => {
    for (const shell of ['sh', 'bash'])
      expect(await runWell(shell, ['-c', `printf %s ${shellQuote(word)}`])).toBe(Buffer.from(word).toString('latin1'));
  });
});
