import { describe, expect, it } from 'vitest';
import { VALUE_CHECKS } from '../../src/app/value-checks.ts';
import { readConfig } from '../../src/cli/config/read-config.ts';
import { allSettings } from '../../src/cli/config/roles.ts';

const SETTINGS = allSettings();

function faultsOf(text: string) {
  return readConfig(text, { path: 'wstun.toml', settings: SETTINGS, checks: VALUE_CHECKS }).faults;
}

interface Wrong {
  readonly what: string;
  readonly text: string;
  readonly line: number;
  /** Part of what is said. */
  readonly says: string;
  /** Part of the remedy. */
  readonly fix: string;
}

const WRONG: readonly Wrong[] = [
  { what: 'a key without a value', text: '[client]\nlisten =\n', line: 2, says: 'not TOML', fix: 'KEY = VALUE' },
  {
    what: 'a text without quotes',
    text: '[client]\n\nlisten = 127.0.0.1:1080\n',
    line: 3,
    says: 'not TOML',
    fix: 'texts in quotes',
  },
  { what: 'a key twice', text: '[client]\nonce = true\nonce = true\n', line: 3, says: 'not TOML', fix: 'KEY' },
  { what: 'YAML', text: 'client:\n  listen: x\n', line: 1, says: 'not TOML', fix: 'KEY = VALUE' },
  { what: 'a text that does not end', text: '[client]\nproxy = "env\n', line: 2, says: 'not TOML', fix: 'KEY' },
  {
    what: 'a number beyond what can be counted',
    text: '[client]\nresume-window = 99999999999999999999\n',
    line: 2,
    says: 'not TOML',
    fix: 'KEY',
  },
  {
    what: 'a key in no section',
    text: 'listen = "a:1"\n',
    line: 1,
    says: '"listen" is in no section',
    fix: '[client]',
  },
  {
    what: 'a mistyped section',
    text: '#\n[clinet]\n',
    line: 2,
    says: '[clinet] is unknown',
    fix: 'Did you mean [client]?',
  },
  {
    what: 'a foreign section',
    text: '[database]\n',
    line: 1,
    says: '[database] is unknown',
    fix: 'There are only [client]',
  },
  { what: 'a section below a section', text: '[client.home]\nlisten = "a:1"\n', line: 1, says: '"home"', fix: 'only' },
  {
    what: 'a section as a list',
    text: '[[relay]]\nexit = false\n',
    line: 1,
    says: 'is a section',
    fix: 'once, as [relay]',
  },
  { what: 'a section as a text', text: 'exit = "no"\n', line: 1, says: 'is a section', fix: 'as [exit]' },
  {
    what: 'a mistyped key',
    text: '[client]\nlisten = "127.0.0.1:1"\nresume_windw = 3\n',
    line: 3,
    says: 'no key "resume_windw"',
    fix: 'Did you mean resume-window?',
  },
  { what: 'an unknown key', text: '[relay]\nzzz = 1\n', line: 2, says: 'no key "zzz"', fix: 'wstun relay --help' },
  { what: 'a key of another section', text: '[client]\ndecoy = "/srv"\n', line: 2, says: '"decoy"', fix: '[relay]' },
  {
    what: 'a key behind a text of several lines',
    text: '[client]\nuser-agent = """a\nb # [x]\n"""\nlisten = 4\n',
    line: 5,
    says: 'listen must be a text',
    fix: 'listen = "4"',
  },
  {
    what: 'a key behind a list of several lines',
    text: '[relay]\ntrust-proxy = [\n  "loopback", # ]\n]\nacme = 3\n',
    line: 5,
    says: 'acme must be a list of texts',
    fix: 'acme = ["…", "…"]',
  },
  { what: 'a dotted key', text: 'client.listen = "here"\n', line: 1, says: 'listen: ', fix: 'HOST:PORT' },
  { what: 'an inline table', text: '\nclient = { listen = "x" }\n', line: 2, says: 'listen: ', fix: 'HOST:PORT' },
  { what: 'a port as an address', text: '[client]\nlisten = 1080\n', line: 2, says: 'a text', fix: 'listen = "1080"' },
  {
    what: 'an address without a port',
    text: '[client]\nlisten = "127.0.0.1"\n',
    line: 2,
    says: 'not an address to listen on',
    fix: 'Write HOST:PORT',
  },
  { what: 'an empty text', text: '[client]\nproxy = ""\n', line: 2, says: 'proxy is empty', fix: 'leave the key out' },
  { what: 'an empty list', text: '[relay]\nurl = []\n', line: 2, says: 'url is empty', fix: 'leave the key out' },
  {
    what: 'a flag as a text',
    text: '[relay]\nexit = "false"\n',
    line: 2,
    says: 'exit must be true',
    fix: 'exit = true',
  },
  { what: 'a flag as a number', text: '[client]\nbond = 1\n', line: 2, says: 'true or false', fix: 'bond = true' },
  {
    what: 'a number with a fraction',
    text: '[relay]\nresume-window = 1.5\n',
    line: 2,
    says: 'must be a whole number',
    fix: 'resume-window = 10',
  },
  {
    what: 'a number that is too large',
    text: '[relay]\nresume-window = 90000\n',
    line: 2,
    says: 'needs whole seconds from 0 to 86400',
    fix: '',
  },
  { what: 'a negative number', text: '[client]\nlinks = -1\n', line: 2, says: 'from 1 to 8', fix: '' },
  { what: 'a date', text: '[client]\nlisten = 2026-01-01\n', line: 2, says: 'listen must be a text', fix: 'listen =' },
  {
    what: 'a word that is no choice',
    text: '[client]\ntransport = "smoke"\n',
    line: 2,
    says: 'transport: ',
    fix: 'auto, websocket, http',
  },
  { what: 'numbers in a list', text: '[relay]\ndns = [1, 2]\n', line: 2, says: 'list of texts', fix: '["192.0.2.1"]' },
  { what: 'a name as a name server', text: '[relay]\ndns = ["dns.example"]\n', line: 2, says: 'dns: ', fix: '' },
  { what: 'a wrong pin', text: '[client]\ntls-pin = ["sha1/abc"]\n', line: 2, says: 'needs sha256/', fix: '' },
  {
    what: 'a wrong proxy',
    text: '[client]\nproxy = "ftp://x"\n',
    line: 2,
    says: 'not a proxy',
    fix: 'http://HOST:PORT',
  },
  { what: 'a wrong URL', text: '[relay]\nurl = "ftp://x"\n', line: 2, says: 'not the URL of a relay', fix: 'wss://' },
  { what: 'a wrong network', text: '[relay]\ntrust-proxy = "10.0.0.0/99"\n', line: 2, says: 'trust-proxy', fix: '' },
  { what: 'a header without a name', text: '[client]\nheader = ["x"]\n', line: 2, says: "'Name: value'", fix: '' },
  { what: 'a wildcard', text: '[relay]\nacme = ["*.example.org"]\n', line: 2, says: 'wildcard', fix: '--acme' },
  { what: 'a cut invite', text: '[client]\ninvite = "wstun1_AQ"\n', line: 2, says: 'invite', fix: 'Copy' },
  {
    what: 'two options that exclude each other',
    text: '[client]\nipv4 = true\n\nipv6 = true\n',
    line: 4,
    says: 'ipv4 and ipv6 exclude each other',
    fix: 'Leave one of them out',
  },
  {
    what: 'two ways to a certificate',
    text: '[relay]\nacme = ["relay.example.org"]\ntls-self-signed = true\n',
    line: 3,
    says: 'acme and tls-self-signed exclude each other',
    fix: 'Leave one',
  },
  {
    what: 'a flag and its opposite',
    text: '[relay]\nexit = true\nno-exit = true\n',
    line: 3,
    says: 'exit and no-exit are the same setting',
    fix: 'Leave one',
  },
  {
    what: 'a certificate without its key',
    text: '[relay]\ntls-cert = "c.pem"\n',
    line: 2,
    says: 'tls-cert needs tls-key',
    fix: 'Add tls-key',
  },
  {
    what: 'a setting without the one that it belongs to',
    text: '[relay]\nproxy-protocol = true\n',
    line: 2,
    says: 'proxy-protocol needs trust-proxy',
    fix: 'Add trust-proxy to [relay]',
  },
];

describe('a mistake in wstun.toml', () => {
  it.each(WRONG)('$what is told with its line and a remedy', ({ text, line, says, fix }) => {
    const [fault, ...more] = faultsOf(text);
    expect(more).toEqual([]);
    expect(fault?.line).toBe(line);
    expect(fault?.what).toContain(says);
    expect(fault?.fix).toContain(fix);
  });

  it('all mistakes of a file are told at once, in the order of their lines', () => {
    const faults = faultsOf('[relay]\nurl = "x"\nexit = 1\n[client]\nlinks = 9\nonce = true\nx = 2\n[y]\n');
    expect(faults.map(({ line }) => line)).toEqual([2, 3, 5, 7, 8]);
  });

  it('no message repeats a password, an invite or a key', () => {
    const secret = 'AQDcAQDcAQDcAQDc';
    const texts = [
      `[client]\nproxy = "ftp://me:${secret}@host"`,
      `[client]\nuser = "${secret}"`,
      `[client]\ninvite = "wstun1_${secret}"`,
      `[client]\nheader = "${secret}"`,
      `[relay]\nacme-eab = "${secret}"\n`,
      `[relay]\nvia = "env:${secret}@x y"\n`,
    ];
    for (const text of texts) {
      const faults = faultsOf(text);
      expect(faults.length, text).toBeGreaterThan(0);
      expect(JSON.stringify(faults)).not.toContain(secret);
    }
  });
});
