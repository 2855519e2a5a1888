/** What a person sees in the first minute: the quickstart, help, and errors about mistyped commands. */
import { chmod, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { echo, tcpServer } from '../support/net/tcp.ts';
import { run, runWell } from '../support/programs/programs.ts';
import { refuseSecrets, WstunProcess, wstun } from '../support/programs/wstun-process.ts';
import { invite, startClient, startRelay } from '../support/programs/wstun-stack.ts';
import { connectThrough, take } from '../support/proxy/through-proxy.ts';
import { tempDir } from '../support/temp-dir.ts';
import { until } from '../support/until.ts';

describe('quickstart', () => {
  it('quickstart prints its address on stdout, serves its page through the tunnel, and leaves no file behind', async () => {
    const tmp = await tempDir();
    const process = new WstunProcess(['quickstart', '--json', '--listen', '127.0.0.1:0'], { env: { TMPDIR: tmp } });
    const { role, listen, url } = await process.event('ready');
    expect(role).toBe('quickstart');
    expect(await runWell('curl', ['-sS', '-x', `socks5h://${listen}`, String(url)])).toContain('wstun works');
    expect(await readdir(tmp)).toHaveLength(1);
    process.signal('SIGINT');
    expect(await process.exited).toBe(0);
    expect(await readdir(tmp)).toEqual([]);
    expect(process.events.map(({ event }) => event)).toEqual(['ready', 'ended']);
    expect(process.stdout.trim().split('\n')).toHaveLength(2);
    expect(process.stderr).toBe('');
  });

  it('quickstart prints a curl line that works as it is printed', async () => {
    const process = new WstunProcess(['quickstart', '--listen', '127.0.0.1:0']);
    await until(() => process.stderr.includes('Press Ctrl-C to stop'), 10_000);
    const [line = ''] = /^ *curl .*$/m.exec(process.stderr) ?? [];
    expect(await runWell('bash', ['-c', line])).toContain('wstun works');
    expect(process.stderr).toMatch(/chromium .*--proxy-server=socks5:\/\/127\.0\.0\.1:\d+/);
    process.signal('SIGINT');
    expect(await process.exited).toBe(0);
  });
});

describe('help', () => {
  it.each(['', 'client', 'relay', 'access', 'access add', 'quickstart'])(
    'the help of `wstun %s` has examples',
    async (command) => {
      const { code, stdout, stderr } = await wstun([...command.split(' ').filter(Boolean), '--help']);
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      expect(stdout).toMatch(/^Usage: wstun/);
      expect(stdout).toContain('Examples:');
    },
  );

  it.each(['', 'client', 'relay', 'exit', 'access', 'access add', 'access set', 'keys', 'keys rotate', 'quickstart'])(
    'the help of `wstun %s` has nothing after a command that would be pasted with it',
    async (command) => {
      const { stdout } = await wstun([...command.split(' ').filter(Boolean), '--help']);
      const examples = stdout.slice(stdout.indexOf('Examples:')).split('\n');
      const commands = examples.filter((line) =>
        /^ *(?:.*: +)?(?:\w+=\S+ )?(?:wstun|curl|git|ssh|chromium) /.test(line),
      );
      expect(commands.length).toBeGreaterThan(0);
      expect(commands.filter((line) => /\S {2,}|^ *\S.*: +wstun|\s#/.test(line))).toEqual([]);
    },
  );

  it.each(['list', 'remove'])('the help of `wstun access %s` names its options', async (command) => {
    expect(await wstun(['access', command, '--help'])).toMatchObject({
      code: 0,
      stderr: '',
      stdout: expect.stringContaining('--state'),
    });
  });

  it('`wstun` alone says in 12 lines what it is and how to begin, on stdout, and is no error', async () => {
    const { code, stdout, stderr } = await wstun([]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout.trimEnd().split('\n').length).toBeLessThanOrEqual(12);
    for (const line of ['wstun quickstart', 'wstun relay', 'wstun client', 'wstun help COMMAND'])
      expect(stdout).toContain(line);
  });

  it('a command that needs another word shows which there are, on stdout', async () => {
    const asked = await wstun(['access', '--help']);
    expect(await wstun(['access'])).toEqual(asked);
    expect(asked).toMatchObject({ code: 0, stderr: '', stdout: expect.stringContaining('remove <name>') });
  });

  it('`wstun help` shows the page of a command or a topic, and rejects and suggests others', async () => {
    expect(await wstun(['help', 'access', 'add'])).toEqual(await wstun(['access', 'add', '--help']));
    expect((await wstun(['help', 'exit-codes'])).stdout).toMatch(/^Exit codes\n.*^ 78 /ms);
    for (const [words, hint] of [
      ['nonsense', 'See all: wstun help.'],
      ['environmnet', 'wstun help environment?'],
      ['acces add', 'wstun help access?'],
      ['access remov', 'wstun help access remove?'],
    ] as const) {
      const { code, stdout, stderr } = await wstun(['help', ...words.split(' ')]);
      expect([code, stdout, stderr]).toEqual([2, '', expect.stringMatching(/^wstun: .*\(WSTUN-E157\)\n$/)]);
      expect(stderr).toContain(hint);
    }
  });

  it('`wstun explain` finds an error by code or name, lists all, and names the nearest of one that it does not know', async () => {
    const page = await wstun(['explain', 'E203']);
    expect(page.stdout).toMatch(/^WSTUN-E203 \(relay-untrusted\)\n.*Exit code 69:/s);
    for (const asked of ['WSTUN-E203', '203', 'e203', 'relay-untrusted', '(WSTUN-E203)'])
      expect(await wstun(['explain', asked])).toEqual(page);
    const list = (await wstun(['explain', '--list'])).stdout.trim().split('\n');
    expect(list).toContainEqual(expect.stringMatching(/^WSTUN-E900 +internal +internal error$/));
    expect(list.length).toBeGreaterThan(80);
    for (const [asked, near] of [
      ['E299', 'E301'],
      ['relay-untrused', 'relay-untrusted'],
    ] as const)
      expect(await wstun(['explain', asked])).toMatchObject({
        code: 2,
        stderr: expect.stringMatching(new RegExp(`explain ${near}\\..*WSTUN-E158`)),
      });
    expect(await wstun(['explain'])).toMatchObject({ code: 2, stderr: expect.stringContaining('WSTUN-E101') });
  });

  it('`--version` names version, commit, Node, platform and protocol, and `wstun version --json` gives them to programs', async () => {
    const { stdout } = await wstun(['--version']);
    const line = /^wstun (\d+\.\d+\.\d+) \(([0-9a-f]{7,}|unknown)\) node (v\S+) \w+-\w+, protocol 1\n$/;
    expect(stdout).toMatch(line);
    expect((await wstun(['version'])).stdout).toBe(stdout);
    const [, version, commit, node] = line.exec(stdout) ?? [];
    const fields = JSON.parse((await wstun(['version', '--json'])).stdout) as unknown;
    expect(fields).toMatchObject({ version, commit, node, protocol: 1, platform: process.platform });
  });
});

describe('a mistyped command', () => {
  let secret = '';
  let state = '';
  let port = 0;
  beforeAll(async () => {
    const relay = await startRelay();
    ({ state, port } = relay);
    secret = relay.invite ?? '';
  });

  /** One line that names the fault, on stderr; nothing on stdout. */
  async function refused(args: readonly string[], code: number, fault: string): Promise<void> {
    const outcome = await wstun(args.map((arg) => arg.replace('STATE', state)));
    expect(outcome).toMatchObject({ code, stdout: '', stderr: expect.stringContaining(`(${fault})`) });
    expect(outcome.stderr.trim().split('\n')).toHaveLength(1);
    refuseSecrets(outcome.stderr);
  }

  it.each([
    [['client'], 'WSTUN-E108'],
    [['client', 'https://example.org/'], 'WSTUN-E105'],
    [['client', '--invite-file', '/does/not/exist'], 'WSTUN-E108'],
    [['relay', '--listen', 'nonsense'], 'WSTUN-E102'],
    [['relay', '--listen', '127.0.0.1:70000'], 'WSTUN-E102'],
    [['relay', '--state', 'STATE', '--listen', '127.0.0.1:0', '--path', 'a b'], 'WSTUN-E101'],
    [['relay', '--state', 'STATE', '--max-pending-per-address', '-1'], 'WSTUN-E101'],
    [['relay', '--state', 'STATE', '--listen', '127.0.0.1:0', '--url', 'ftp://relay.example'], 'WSTUN-E110'],
    [['access', 'add', '../x', '--state', 'STATE'], 'WSTUN-E116'],
    [['access', 'add', 'default', '--state', 'STATE'], 'WSTUN-E114'],
    [['access', 'add', 'new', '--state', 'STATE', '--allow', '10.0.0.0/64'], 'WSTUN-E109'],
    [['access', 'remove', 'nobody', '--state', 'STATE'], 'WSTUN-E115'],
  ])('wstun rejects the arguments %j as wrong usage', async (args, fault) => {
    await refused(args, 2, fault);
  });

  it('wstun rejects options and commands that do not exist as wrong usage', async () => {
    for (const args of [['client', '--lsten', 'x'], ['clinet'], ['relay', '--state'], ['access', 'add']]) {
      expect(await wstun(args)).toMatchObject({
        code: 2,
        stdout: '',
        stderr: expect.stringMatching(
          /^wstun: .*\. (Did you mean --?\w+\?|Did you mean \w+\?|See: wstun [\w ]+ --help\.) \(WSTUN-E101\)\n$/,
        ),
      });
    }
  });

  it('a client says that an invite is cut off or mistyped', async () => {
    const at = 60;
    const other = secret[at] === 'A' ? 'B' : 'A';
    await refused(['client', secret.slice(0, -9)], 2, 'WSTUN-E106');
    await refused(['client', secret.slice(0, at) + other + secret.slice(at + 1)], 2, 'WSTUN-E107');
  });

  it('a client rejects a proxy address that others can reach without a password', async () => {
    await refused(['client', '--listen', '0.0.0.0:0', secret], 2, 'WSTUN-E103');
    await refused(['client', '--listen', '[::]:0', secret], 2, 'WSTUN-E103');
    await refused(['client', '--user', 'nocolon', secret], 2, 'WSTUN-E118');
  });

  it('relay and client report a port in use as a fault of the network', async () => {
    await refused(['relay', '--state', 'STATE', '--listen', `127.0.0.1:${port}`], 69, 'WSTUN-E104');
    await refused(['client', '--listen', `127.0.0.1:${port}`, secret], 69, 'WSTUN-E104');
  });

  it('the error about a port in use names the option for another, and quickstart, which has no password, has advice of its own', async () => {
    const taken = await wstun(['client', '--listen', `127.0.0.1:${port}`, secret]);
    expect(taken.stderr).toContain(
      `another program already listens there. Stop it, or choose another port: --listen 127.0.0.1:${port + 1}.`,
    );
    expect(taken.stderr).not.toMatch(/EADDRINUSE|--tether/);
    const nowhere = await wstun(['client', '--listen', '192.0.2.1:1080', '--allow-lan', secret]);
    expect(nowhere.stderr).toMatch(/does not have that address.*--listen HOST:PORT/);
    const open = await wstun(['quickstart', '--listen', '0.0.0.0:1090']);
    expect(open).toMatchObject({ code: 2, stderr: expect.stringContaining('--listen 127.0.0.1:1090') });
    expect(open.stderr).not.toContain('--user');
  });

  it('a relay says in words that the file of its certificate does not exist', async () => {
    const tls = ['--tls-cert', '/does/not/exist.pem', '--tls-key', '/etc/hostname'];
    const { code, stderr } = await wstun(['relay', '--state', state, '--listen', '127.0.0.1:0', ...tls]);
    expect([code, stderr]).toEqual([78, expect.stringContaining('/does/not/exist.pem: it does not exist')]);
    expect(stderr).not.toContain('ENOENT');
  });

  it('`wstun access add` reads limits as people write them, and names the form once where one is wrong', async () => {
    const added = await wstun(['access', 'add', 'fast', '--rate', '20Mbit/s', '--quota', '10gb', '--state', state]);
    expect(added.code).toBe(0);
    expect((await wstun(['access', 'list', '--state', state])).stdout).toContain('fast  rate=20mbit  quota=10GB');
    const wrong = await wstun(['access', 'add', 'slow', '--rate', '20MB', '--state', state]);
    expect(wrong.stderr).toMatch(/--rate 20MB: it must be bits per second/);
    expect(wrong.stderr).not.toContain('--help');
  });

  it('a relay reports a certificate without a key, or a file that is not one, as a fault of the configuration', async () => {
    const listen = ['relay', '--state', 'STATE', '--listen', '127.0.0.1:0'];
    await refused([...listen, '--tls-cert', '/etc/hostname'], 78, 'WSTUN-E117');
    await refused([...listen, '--tls-cert', '/etc/hostname', '--tls-key', '/etc/hostname'], 78, 'WSTUN-E117');
  });

  it('a relay reports a state directory that is open to others, damaged or missing as a fault of the configuration', async () => {
    const dir = await tempDir();
    const [open, file, damaged, badList] = ['open', 'file', 'damaged', 'list'].map((name) => join(dir, name)) as [
      string,
      string,
      string,
      string,
    ];
    await mkdir(open);
    await chmod(open, 0o755);
    await writeFile(file, '');
    for (const path of [damaged, badList]) await mkdir(path, { mode: 0o700 });
    await writeFile(join(damaged, 'identity.key'), 'nonsense\n', { mode: 0o600 });
    await writeFile(join(badList, 'access.toml'), '[alice]\nkey = 7\n', { mode: 0o600 });
    const listen = ['relay', '--listen', '127.0.0.1:0', '--state'];
    await refused([...listen, open], 78, 'WSTUN-E111');
    await refused([...listen, file], 78, 'WSTUN-E111');
    await refused([...listen, damaged], 78, 'WSTUN-E112');
    await refused([...listen, badList], 78, 'WSTUN-E113');
  });
});

describe('secrets', () => {
  it('secrets are only in files that the owner alone can read, and the secret of an invite is in none', async () => {
    const state = join(await tempDir(), 'new');
    const relay = await startRelay({ state });
    const added = await invite(relay, 'alice');
    expect((await stat(state)).mode & 0o777).toBe(0o700);
    const files = await readdir(state);
    expect(files).toEqual(expect.arrayContaining(['access.toml', 'identity.key', 'relay.toml']));
    for (const file of files) {
      const found = await stat(join(state, file));
      expect({ file, mode: found.mode & 0o777 }).toEqual({ file, mode: found.isDirectory() ? 0o700 : 0o600 });
    }
    const found = await run('grep', ['-rlF', '-e', added.slice(-50, -10), state]);
    expect(found).toMatchObject({ code: 1, stdout: '' });
  });

  it('no log holds secrets or destinations; only the debug log names destinations', async () => {
    const target = await tcpServer(echo);
    for (const [args, named] of [
      [[], false],
      [['--verbose'], true],
    ] as const) {
      const relay = await startRelay({ args });
      const client = await startClient(await invite(relay, 'alice', { allow: ['127.0.0.1'] }), { args });
      const socket = await connectThrough('SOCKS5', client.port, target);
      socket.write('hello');
      expect((await take(socket, 5)).toString()).toBe('hello');
      socket.destroy();
      for (const process of [relay.process, client.process]) {
        if (named) await until(() => process.stderr.includes(String(target)));
        expect(process.stderr.includes(String(target))).toBe(named);
        refuseSecrets(process.stderr);
      }
    }
  });

  it('a client takes its invite from the environment or a file, so that no process list shows it', async () => {
    const relay = await startRelay();
    const secret = relay.invite ?? '';
    const client = await startClient(secret);
    refuseSecrets(await readFile(`/proc/${client.process.pid}/cmdline`, 'latin1'));
    const file = join(await tempDir(), 'invite');
    await writeFile(file, `${secret}\n`);
    const fromFile = new WstunProcess(['client', '--json', '--listen', '127.0.0.1:0', '--invite-file', file]);
    await fromFile.event('ready');
  });
});
