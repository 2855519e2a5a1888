/** @module-tag waits */
import { describe, expect, it } from 'vitest';
import { evaluation, exportLines, unsetLines } from '../../src/cli/shell.ts';
import { run, runWell } from '../support/programs/programs.ts';

const HARD = ["o'neil", 'a b', '$(id)', '`id`', 'ü', '\\', "\\'", '"', '%41', '!x', '*', '', '-n', 'a;b&c|d'];

describe('exportLines', () => {
  it.each([
    ['sh', 'dash'],
    ['sh', 'bash'],
    ['sh', 'zsh'],
    ['fish', 'fish'],
  ] as const)(
    'the lines for %s give each value unchanged in %s, and the other lines remove it',
    async (shell, program) => {
      const names = HARD.map((_, index) => `WSTUN_TEST_${index}`);
      const variables = Object.fromEntries(HARD.map((value, index) => [names[index] ?? '', value]));
      const set = exportLines(shell, variables).join('\n');
      const print = `${process.execPath} -e "process.stdout.write(JSON.stringify(process.env))"`;
      const printed = await runWell(program, ['-c', `${set}\n${print}\n`]);
      const env: Record<string, string> = JSON.parse(Buffer.from(printed, 'latin1').toString());
      expect(names.map((name) => env[name])).toEqual(HARD);
      const after = await runWell(program, ['-c', `${set}\n${unsetLines(shell, names).join('\n')}\n${print}\n`]);
      expect(Object.keys(JSON.parse(Buffer.from(after, 'latin1').toString())).join()).not.toContain('WSTUN_TEST');
    },
  );

  it('in PowerShell a quote is doubled, also a curved one, which it takes for a quote', () => {
    expect(exportLines('powershell', { A: "it’s $x `y'" })).toEqual(["$env:A = 'it’’s $x `y'''"]);
    expect(unsetLines('powershell', ['A'])).toEqual(['Remove-Item Env:A -ErrorAction SilentlyContinue']);
    expect(evaluation('powershell', 'wstun env')).toContain('Invoke-Expression');
  });

  it('the line by which a shell takes them over works in that shell', async () => {
    const script = `wstun() { echo "export A='1 2'"; }; ${evaluation('sh', 'wstun env')}; printf %s "$A"`;
    expect(await runWell('sh', ['-c', script])).toBe('1 2');
    const fish = `function wstun; echo "set -gx A '1 2'"; end; ${evaluation('fish', 'wstun env')}; printf %s "$A"`;
    expect(await run('fish', ['-c', fish])).toMatchObject({ code: 0, stdout: '1 2' });
  });
});
