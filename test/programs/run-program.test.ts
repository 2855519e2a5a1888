/** @module-tag waits */
import { describe, expect, it } from 'vitest';
import { runProgram } from '../../src/programs/run-program.ts';

describe('a program that cannot be started', () => {
  it.each([
    ['', 'its name is empty'],
    ['/etc/passwd/program', 'a part of its path is not a directory'],
    [`/${'x'.repeat(5_000)}`, 'its name is too long'],
  ])('%#: is a fault of its own that says why, also where Node throws', async (program, reason) => {
    const started = runProgram({ program, args: [], env: process.env, hasTerminal: false });
    await expect(started).rejects.toMatchObject({
      fault: 'program-not-started',
      detail: expect.stringMatching(new RegExp(`: ${reason}$`)),
    });
  });

  it('arguments that are too long for the system are a fault that says so', async () => {
    const args = ['x'.repeat(4 * 1024 * 1024)];
    await expect(runProgram({ program: 'true', args, env: process.env, hasTerminal: false })).rejects.toMatchObject({
      fault: 'program-not-started',
      detail: 'true: its arguments are too long',
    });
  });
});
