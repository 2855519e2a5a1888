import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { VALUE_CHECKS } from '../../src/app/value-checks.ts';
import { readConfig } from '../../src/cli/config/read-config.ts';
import { allSettings, COMMANDS } from '../../src/cli/config/roles.ts';
import { ROLES, type Role, type Setting, settingsOf, shownRaw } from '../../src/cli/config/settings.ts';
import { settle } from '../../src/cli/config/settle.ts';
import { readVariables, unknownVariables } from '../../src/cli/config/variables.ts';
import { linesOfKeys, pathOf } from '../../src/state/toml-lines.ts';
import { withKeys } from '../support/config-page.ts';
import { tempDir } from '../support/temp-dir.ts';

/** A text that each option with a form of its own accepts; others accept any. */
const SAMPLES: Readonly<Record<string, string>> = {
  tproxy: '127.0.0.1:7893',
  redirect: '7892',
  ...{ listen: '127.0.0.1:1090', admin: '[::1]:9', 'acme-http': '0.0.0.0:80', 'connect-to': '192.0.2.1:443' },
  ...{ user: 'me:secret', 'acme-eab': 'id:a2V5', header: 'X-Test: 1', sni: 'name.example', path: '/some/path' },
  ...{
    encryption: 'on',
    transport: 'http',
    'log-format': 'text',
    prefer: 'ipv6',
    links: '3',
    'link-max-bytes': '16384',
  },
  ...{ 'link-max-age': '60', 'resume-window': '30', 'max-pending-per-address': '7', dns: '192.0.2.53' },
  ...{ 'public-address': '192.0.2.9', via: 'socks5://192.0.2.1:1080', proxy: 'http://192.0.2.1:3128' },
  ...{ 'tls-pin': `sha256/${'A'.repeat(43)}=`, url: 'wss://relay.example.org', 'trust-proxy': '10.0.0.0/8' },
  ...{ acme: 'relay.example.org', tether: '127.0.0.1:8808' },
  ...{ workers: '2', 'dns-listen': '127.0.0.1:5353', 'remote-forward': '8080:127.0.0.1:80' },
  'cluster-replicas': '3',
  'local-forward': '5353:127.0.0.1:53/udp',
};

const CASES = ROLES.flatMap((role) => allSettings()[role].map((setting) => ({ role, setting, key: setting.key })));
/** No option, but an argument; `readConfig` would reject a text that is no invite. */
const OPTIONS = CASES.filter(({ key }) => key !== 'invite');

const sampleOf = ({ key, kind }: Setting): string => (kind === 'flag' ? 'true' : (SAMPLES[key] ?? `a ${key}`));

/** As the command line reads it. */
function byFlag(role: Role, setting: Setting): unknown {
  const command = COMMANDS[role]()
    .exitOverride()
    .action(() => {});
  const given = setting.kind === 'flag' ? [setting.option.long ?? ''] : [`${setting.option.long}=${sampleOf(setting)}`];
  return command.parse(given, { from: 'user' }).getOptionValue(setting.attribute);
}

describe('each option of client, relay and exit', () => {
  it.each(OPTIONS)('[$role] $key in a file is what the option is', ({ role, setting }) => {
    const key = setting.opposite ?? setting.key;
    const written = setting.kind === 'flag' ? 'true' : JSON.stringify(sampleOf(setting));
    const text = `[${role}]\n${key} = ${setting.kind === 'list' ? `[${written}]` : written}\n`;
    const { settings, faults } = readConfig(text, { path: 'f', settings: allSettings(), checks: VALUE_CHECKS });
    // Some need another one beside them.
    expect(faults.filter(({ what }) => !what.includes(' needs '))).toEqual([]);
    expect(settings[role].map(({ value }) => value)).toEqual([byFlag(role, setting)]);
    expect(settings[role][0]?.origin).toBe('f:2');
  });

  it.each(OPTIONS)('[$role] $key in the environment is what the option is', ({ role, setting }) => {
    const name = setting.opposite === undefined ? setting.variable : `WSTUN_NO_${setting.key.toUpperCase()}`;
    const [value, ...more] = readVariables(allSettings()[role], { [name]: sampleOf(setting) }, VALUE_CHECKS);
    expect(more).toEqual([]);
    expect(value).toMatchObject({ value: byFlag(role, setting), origin: name });
  });

  it.each(CASES)('[$role] the variable of $key is its name', ({ setting: { key, variable } }) => {
    expect(variable).toBe(key === 'header' ? 'WSTUN_HEADERS' : `WSTUN_${key.toUpperCase().replaceAll('-', '_')}`);
  });

  it('an option without a value is a flag, one with a number in its form takes a number', () => {
    const kinds = new Map(CASES.map(({ key, setting }) => [key, setting.kind]));
    expect([...kinds].filter(([, kind]) => kind === 'number').map(([key]) => key)).toEqual([
      ...['resume-window', 'links', 'link-max-bytes', 'link-max-age', 'workers', 'max-pending-per-address'],
      'cluster-replicas',
    ]);
    expect([...kinds].filter(([, kind]) => kind === 'choice').map(([key]) => key)).toEqual(['tether', 'via-browser']);
  });
});

/** What a client runs with. */
async function settled(given: readonly string[], environment: NodeJS.ProcessEnv, toml: string, role: Role = 'client') {
  const path = join(await tempDir(), 'wstun.toml');
  await writeFile(path, toml, { mode: 0o600 });
  const command = COMMANDS[role]()
    .exitOverride()
    .action(() => {});
  command.parse(['--config', path, ...given], { from: 'user' });
  return await settle({ role, command, environment, settings: { ...allSettings(), [role]: settingsOf(command) } });
}

describe('which value counts', () => {
  const places = [
    { flag: true, variable: true, file: true, wins: 1 },
    { flag: true, variable: true, file: false, wins: 1 },
    { flag: true, variable: false, file: true, wins: 1 },
    { flag: true, variable: false, file: false, wins: 1 },
    { flag: false, variable: true, file: true, wins: 2 },
    { flag: false, variable: true, file: false, wins: 2 },
    { flag: false, variable: false, file: true, wins: 3 },
    { flag: false, variable: false, file: false, wins: undefined },
  ];

  it.each(places)(
    'option $flag, variable $variable, file $file: number $wins',
    async ({ flag, variable, file, wins }) => {
      const given = flag ? ['--links', '1'] : [];
      const environment = variable ? { WSTUN_LINKS: '2' } : {};
      const { options } = await settled(given, environment, file ? '[client]\nlinks = 3\n' : '');
      expect(options.links).toBe(wins);
    },
  );

  it.each(places)('of a flag: option $flag, variable $variable, file $file', async ({ flag, variable, file, wins }) => {
    const { options } = await settled(
      flag ? ['--no-exit'] : [],
      variable ? { WSTUN_EXIT: 'true' } : {},
      file ? '[relay]\nexit = false\n' : '',
      'relay',
    );
    expect(options.exit).toBe([false, true, false][(wins ?? 2) - 1]);
  });

  it('an empty variable counts as absent', async () => {
    expect((await settled([], { WSTUN_LINKS: '' }, '[client]\nlinks = 3\n')).options.links).toBe(3);
  });

  it('a list of one place replaces that of another, and fields of the command line join those of the environment', async () => {
    const dns = await settled(['--dns', '192.0.2.1'], { WSTUN_DNS: '192.0.2.2,192.0.2.3' }, '', 'relay');
    expect(dns.options.dns).toEqual(['192.0.2.1']);
    const byVariable = await settled([], { WSTUN_DNS: '192.0.2.2,192.0.2.3' }, '[relay]\ndns = "192.0.2.4"', 'relay');
    expect(byVariable.options.dns).toEqual(['192.0.2.2', '192.0.2.3']);
    const fields = await settled(['--header', 'A: 1'], { WSTUN_HEADERS: 'B: 2\nC: 3' }, '[client]\nheader = "D: 4"');
    expect(fields.options.header).toEqual(['B: 2', 'C: 3', 'A: 1']);
  });

  it('an option hides what excludes it in the file, and an invite one of another place', async () => {
    const family = await settled(['-6'], {}, '[client]\nipv4 = true\n');
    expect(family.options).toMatchObject({ ipv6: true });
    expect(family.options.ipv4).toBeUndefined();
    const level = await settled(['-v'], {}, '[client]\nquiet = true\n');
    expect(level.options).toMatchObject({ verbose: true });
    expect(level.options.quiet).toBeUndefined();
    const invite = await settled(['--invite-file', 'f'], { WSTUN_INVITE: 'x' }, '');
    expect(invite.options).toMatchObject({ inviteFile: 'f' });
    expect(invite.options.invite).toBeUndefined();
  });

  it('tether = false is no tether, and WSTUN_TETHER=yes is one', async () => {
    expect((await settled([], {}, '[client]\ntether = false\n')).options.tether).toBeUndefined();
    expect((await settled([], { WSTUN_TETHER: 'no' }, '[client]\ntether = true\n')).options.tether).toBeUndefined();
    expect((await settled([], { WSTUN_TETHER: 'yes' }, '')).options.tether).toBe(true);
  });
});

describe('variables of the environment', () => {
  const all = Object.values(allSettings()).flat();

  it('secrets are deleted, so that no child process inherits them', async () => {
    const environment = { WSTUN_USER: 'me:secret', WSTUN_PROXY: 'http://a:b@c:1', WSTUN_LINKS: '2' };
    await settled([], environment, '');
    expect(environment).toEqual({ WSTUN_LINKS: '2' });
  });

  it('a wrong one is told by its name', async () => {
    const wrong = [
      ['WSTUN_LINKS', '99', 'bad-variable'],
      ['WSTUN_BOND', 'maybe', 'bad-variable'],
      ['WSTUN_LISTEN', 'here', 'bad-address'],
      ['WSTUN_PROXY', 'ftp://x', 'bad-proxy'],
    ] as const;
    for (const [name, text, fault] of wrong)
      await expect(settled([], { [name]: text }, '')).rejects.toMatchObject({
        fault,
        detail: expect.stringContaining(name),
      });
    await expect(settled([], { WSTUN_EXIT: 'true', WSTUN_NO_EXIT: 'true' }, '', 'relay')).rejects.toMatchObject({
      detail: expect.stringContaining('WSTUN_EXIT and WSTUN_NO_EXIT'),
    });
  });

  it('an unknown one is told, with the one that may be meant', () => {
    expect(unknownVariables(all, { WSTUN_LISEN: 'x', WSTUN_ZZZZZZZZZZZ: 'x' })).toEqual([
      { name: 'WSTUN_LISEN', meant: 'WSTUN_LISTEN' },
      { name: 'WSTUN_ZZZZZZZZZZZ', meant: undefined },
    ]);
  });

  it('those of Kubernetes beside a service called wstun are none of wstun', () => {
    const names = ['WSTUN_SERVICE_HOST', 'WSTUN_SERVICE_PORT_HTTP', 'WSTUN_PORT', 'WSTUN_PORT_8080_TCP_ADDR'];
    expect(unknownVariables(all, Object.fromEntries(names.map((name) => [name, 'x'])))).toEqual([]);
  });
});

describe('what may be shown of a setting', () => {
  it.each([
    ['invite', 'wstun1_AQDcAQDc', 'wstun1_…'],
    ['user', 'me:secret', 'me:…'],
    ['acme-eab', 'id:a2V5', 'id:…'],
    ['proxy', 'http://me:p@ss@proxy.example:3128', 'http://…@proxy.example:3128'],
    ['proxy', 'me:pass@proxy.example', '…@proxy.example'],
    ['proxy', 'env', 'env'],
    ['via', 'socks5://me:pass@192.0.2.1', 'socks5://…@192.0.2.1'],
    ['header', 'Authorization: Bearer x', 'Authorization:…'],
    ['header', 'User-Agent: x', 'User-Agent: x'],
    ['listen', '127.0.0.1:1080', '127.0.0.1:1080'],
  ])('of %s "%s" is "%s"', (key, raw, shown) => {
    expect(shownRaw(key, raw)).toBe(shown);
  });
});

describe('lines of keys', () => {
  it('are found behind texts and lists of several lines, in dotted and quoted keys', () => {
    const lines = linesOfKeys(
      [
        '# [no] = 1',
        '[a]',
        'text = """x',
        "['''no]",
        'y = """ # x',
        "list = [ 'a]', # ]",
        ' "b", [ 1 ] ]',
        '"quoted key".b = { c = "}" }',
        '[[many]] # x',
        "raw = '''",
        'z = 3',
        "'''",
        'last=1',
      ].join('\r\n'),
    );
    const found = Object.fromEntries([...lines].map(([path, line]) => [path.replaceAll(pathOf(['', '']), '/'), line]));
    expect(found).toEqual({
      a: 2,
      'a/text': 3,
      'a/list': 6,
      'a/quoted key': 8,
      'a/quoted key/b': 8,
      many: 9,
      'many/raw': 10,
      'many/last': 13,
    });
  });
});

describe('docs/config.md', () => {
  it('lists every key of every command, and no other', () => {
    const page = readFileSync(new URL('../../docs/config.md', import.meta.url), 'utf8');
    expect(page).toBe(withKeys(page));
  });
});
