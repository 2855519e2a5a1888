/** What commands print beside a log: a text of others in it cannot act on the terminal. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { wstun } from '../support/programs/wstun-process.ts';
import { tempDir } from '../support/temp-dir.ts';

/** Control characters of one byte and of two, and one that turns a line around. */
const HOSTILE = '\u001b]0;title\u0007\u009b2J\u202e';
const ACTS = /[^\P{Cc}\n]|\u202e/u;

async function printed(args: readonly string[], env = {}): Promise<string> {
  const { stdout, stderr } = await wstun(args, { env });
  return Buffer.from(stdout + stderr, 'latin1').toString('utf8');
}

it('errors, wstun config check and wstun doctor print no character that acts on the terminal', {
  timeout: 120_000,
}, async () => {
  const dir = await tempDir();
  const error = await printed(['access', 'list', '--state', join(dir, HOSTILE)]);
  expect(error).toContain('\\u{1b}]0;title\\u{7}\\u{9b}2J\\u{202e}');
  expect(error).not.toMatch(ACTS);

  const file = join(dir, 'wstun.toml');
  await writeFile(file, `[client]\n${JSON.stringify(HOSTILE)} = 1\n`);
  const check = await printed(['config', 'check', file]);
  expect(check).toContain('has no key "\\u{1b}]0;title');
  expect(check).not.toMatch(ACTS);

  const state = join(dir, 'relay');
  const { stdout } = await wstun(['access', 'add', 'alice', '--state', state, '--url', 'ws://127.0.0.1:1']);
  const env = { XDG_STATE_HOME: dir, all_proxy: `http://127.0.0.1:1/${HOSTILE}` };
  const doctor = await printed(['doctor', stdout.trim()], env);
  expect(doctor).toContain('all_proxy=http://127.0.0.1:1/\\u{1b}]0;title');
  expect(doctor).not.toMatch(ACTS);
});
