/** Completions in real shells, and the manual page as mandoc reads it. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { run, runWell, spawnBound } from '../support/programs/programs.ts';
import { wstun } from '../support/programs/wstun-process.ts';
import { atEnd } from '../support/scope.ts';
import { tempDir } from '../support/temp-dir.ts';
import { until } from '../support/until.ts';

const BOLD = new RegExp(`.${String.fromCharCode(8)}`, 'g');

let folder = '';

beforeAll(async () => {
  folder = await tempDir();
  for (const shell of ['bash', 'zsh', 'fish']) {
    const { code, stdout } = await wstun(['completions', shell]);
    expect(code).toBe(0);
    await writeFile(join(folder, `wstun.${shell}`), stdout);
  }
  await writeFile(join(folder, 'my ca.pem'), '');
  await mkdir(join(folder, 'state'));
});

/** What somebody has typed, and what is offered for its last word. */
const OFFERED: readonly (readonly [typed: string, offered: readonly string[]])[] = [
  ['wstun cl', ['client']],
  ['wstun access ', ['add', 'import', 'list', 'remove', 'renew', 'set', 'show']],
  ['wstun access add --role ', ['client', 'exit']],
  ['wstun client --transport w', ['websocket']],
  ['wstun client --link-', ['--link-max-age', '--link-max-bytes']],
  ['wstun client --tls-ca my', ['my ca.pem']],
  ['wstun relay --state sta', ['state']],
  ['wstun client --json --tether --no-', ['--no-direct', '--no-keep']],
  ['wstun help envi', ['environment']],
  ['wstun explain relay-untr', ['relay-untrusted']],
  ['wstun completions ', ['bash', 'fish', 'zsh']],
];

describe('completions', () => {
  it('bash is told by `complete -p` who completes wstun, and offers commands, options, choices, files and directories', async () => {
    const script = `
      source wstun.bash
      complete -p wstun
      while read -r line; do
        read -ra COMP_WORDS <<<"$line"
        [[ $line == *, ]] && COMP_WORDS[\${#COMP_WORDS[@]}-1]=
        COMP_CWORD=$((\${#COMP_WORDS[@]} - 1))
        _wstun
        printf '%s\\n' "$line" "\${COMPREPLY[@]}" end | paste -sd '|'
      done`;
    // A comma stands for an empty last word; bash makes three words of --option=value.
    const typed = [...OFFERED.map(([line]) => line.replace(/ $/, ' ,')), 'wstun client --transport = h'];
    const { code, stdout, stderr } = await run('bash', ['--norc', '-c', script], {
      cwd: folder,
      input: `${typed.join('\n')}\n`,
    });
    expect([code, stderr]).toEqual([0, '']);
    const [registered, ...lines] = stdout.trim().split('\n');
    expect(registered).toBe('complete -F _wstun wstun');
    const expected = [...OFFERED.map(([, offered]) => offered), ['http']];
    expect(lines.map((line) => line.split('|').slice(1, -1).sort())).toEqual(expected);
  });

  it('fish offers the same', async () => {
    for (const [line, offered] of OFFERED) {
      const stdout = await runWell('fish', ['--no-config', '-c', `source wstun.fish; complete -C '${line}'`], {
        cwd: folder,
        env: { HOME: folder },
      });
      const words = stdout
        .trim()
        .split('\n')
        .map((row) => row.split('\t')[0]?.replace(/\/$/, ''));
      expect([line, words.sort()]).toEqual([line, offered]);
    }
  });

  it('zsh completes commands, and lists options and choices with their descriptions', async () => {
    // A terminal: zsh completes nothing without one.
    const zsh = spawnBound('script', ['-qfc', 'zsh -f -i', '/dev/null'], {
      cwd: folder,
      env: { TERM: 'dumb', HOME: folder },
    });
    atEnd(() => void zsh.kill());
    let seen = '';
    zsh.stdout?.on('data', (chunk: Buffer) => {
      seen += chunk.toString();
    });
    const type = async (keys: string, shown: RegExp): Promise<void> => {
      seen = '';
      zsh.stdin?.write(keys);
      await until(() => shown.test(seen), 15_000).catch(() => expect(seen).toMatch(shown));
    };
    await type('PS1=; autoload -U compinit; compinit -u -D; source wstun.zsh; echo is-$((40 + 2))\n', /is-42/);
    await type('wstun acc\t', /wstun access/);
    await type('\u0015wstun access add --role \t\t', /client +exit/);
    await type('\u0015wstun client --link-max-\t\t', /--link-max-age +-- use another link after so many seconds/);
    await type('\u0015wstun client --tls-ca my\t', /my\\ ca\.pem/);
    await type('\u0015wstun client --transport=web\t', /websocket/);
  });
});

describe('the manual page', () => {
  it('mandoc finds no fault in it beyond long lines, and shows options, examples and topics', async () => {
    const { code, stdout } = await wstun(['man']);
    expect(code).toBe(0);
    await writeFile(join(folder, 'wstun.1'), stdout);
    const lint = await run('mandoc', ['-T', 'lint', '-W', 'warning', join(folder, 'wstun.1')]);
    expect([lint.code, lint.stdout + lint.stderr]).toEqual([0, '']);
    const shown = await runWell('mandoc', ['-T', 'ascii', '-O', 'width=78', join(folder, 'wstun.1')]);
    // Bold is a character, a backspace and the same character again.
    const text = shown.replaceAll(BOLD, '');
    for (const part of ['wstun access add', '--tls-self-signed', 'EXIT CODES', "'*.corp.example'", '~/.local/state'])
      expect(text).toContain(part);
  });
});
