import { describe, expect, it } from 'vitest';
import { createIdentity, formatIdentitySecret, formatPublicIdentity } from '../../src/crypto/keys.ts';
import { WstunError } from '../../src/errors.ts';
import {
  type AccessEntry,
  addEntry,
  changeEntry,
  type EntryChange,
  parseAccessList,
  removeEntry,
  replaceKeys,
} from '../../src/state/access-list.ts';
import { faultOf } from '../support/faults.ts';

const keys = Array.from({ length: 4 }, () => createIdentity().public);
const [KEY_A, KEY_B, KEY_C] = keys.map(formatPublicIdentity) as [string, string, string];
/** Of its secret with X25519 nothing but zeros can come. */
const ZERO_KEY = formatPublicIdentity({ gate: new Uint8Array(32), session: keys[0]!.session });

function validateRule(rule: string): void {
  if (rule.startsWith('bad')) throw new WstunError('bad-rule', 'no such port');
}

const PARSERS = {
  allow: validateRule,
  listen: (rule: string) => {
    if (rule.startsWith('bad')) throw new WstunError('bad-rule', 'no such address');
  },
};

function entry(name: string, at: number, allow: string[] = []): AccessEntry {
  return { name, key: keys[at]!, role: 'client', allow };
}

function parsed(text: string): AccessEntry[] {
  return parseAccessList(text, PARSERS);
}

function namesIn(text: string): string[] {
  return parsed(text).map(({ name }) => name);
}

const HAND_MADE = `# My relay. Ask Ann before touching this!

# --- family ---
[alice]   # my laptop
key = "${KEY_A}"
# the printer
allow = [
  "10.0.0.0/8:22,80", # ssh, web
  # more?
  "[fd00::/8]:443",
]

   # a phone
  ["bob.phone"]
  allow = []
  key = '${KEY_B}'

# --- the end ---
`;

describe('parseAccessList', () => {
  it('parseAccessList reads a list that a person wrote', () => {
    expect(parsed(HAND_MADE).map(({ name, allow }) => [name, allow])).toEqual([
      ['alice', ['10.0.0.0/8:22,80', '[fd00::/8]:443']],
      ['bob.phone', []],
    ]);
    expect(formatPublicIdentity(parsed(HAND_MADE)[1]!.key)).toBe(KEY_B);
  });

  it('parseAccessList reads an empty list', () => {
    expect(parsed('')).toEqual([]);
    expect(parsed('# nobody\n')).toEqual([]);
  });

  it.each([
    ['a typing error in TOML', `[alice]\nkey = "${KEY_A}"\nallow = ["x"\n[bob]\n`, 'line 4'],
    ['an unknown key', `[alice]\nkey = "${KEY_A}"\nalow = []\n`, 'line 3: "alice" has "alow"'],
    ['a missing key', `# x\n[alice]\nallow = []\n`, 'line 2: "alice" has no key'],
    ['a key that is no text', `[alice]\nkey = 7\n`, 'line 2'],
    ['a damaged key', `[alice]\n\nkey = "${KEY_A.slice(0, -1)}"\n`, 'line 3: the key of "alice"'],
    ['allow that is no list', `[alice]\nkey = "${KEY_A}"\nallow = "x"\n`, 'line 3'],
    ['allow with a number', `[alice]\nkey = "${KEY_A}"\nallow = ["x", 80]\n`, 'line 3'],
    [
      'a rule that cannot be',
      `[alice]\nkey = "${KEY_A}"\nallow = [\n "good",\n "bad"\n]\n`,
      'line 5: allow: no such port',
    ],
    ['a rule for listening that cannot be', `[alice]\nkey = "${KEY_A}"\nlisten = ["bad"]\n`, 'line 3: listen: no such'],
    ['listen that is no list', `[alice]\nkey = "${KEY_A}"\nlisten = 80\n`, 'line 3: listen of "alice" must be a list'],
    [
      'an exit that listens',
      `[home]\nkey = "${KEY_A}"\nrole = "exit"\nlisten = ["*:1"]\n`,
      'line 4: "home" is an exit',
    ],
    ['a name that cannot be', `["a b"]\nkey = "${KEY_A}"\n`, 'line 1'],
    ['an empty name', `[""]\nkey = "${KEY_A}"\n`, 'line 1'],
    ['a name too long', `[${'x'.repeat(64)}]\nkey = "${KEY_A}"\n`, 'line 1'],
    ['a dotted name without quotes', `[bob.phone]\nkey = "${KEY_A}"\n`, '["bob.phone"]'],
    ['a value outside tables', `\nversion = 1\n[alice]\nkey = "${KEY_A}"\n`, 'line 2'],
    ['a name twice', `[alice]\nkey = "${KEY_A}"\n[alice]\nkey = "${KEY_B}"\n`, 'line 3'],
    [
      'a key twice',
      `[alice]\nkey = "${KEY_A}"\n[bob]\nkey = "${KEY_A}"\n`,
      'line 4: "alice" and "bob" have the same key',
    ],
    ['an unknown role', `[alice]\nkey = "${KEY_A}"\nrole = "relay"\n`, 'line 3: the role of "alice"'],
    ['an exit with rules', `[home]\nkey = "${KEY_A}"\nrole = "exit"\nallow = ["*"]\n`, 'line 4: "home" is an exit'],
    ['sessions below one', `[alice]\nkey = "${KEY_A}"\nsessions = 0\n`, 'line 3: sessions of "alice": it must be'],
    ['sessions that are no number', `[alice]\nkey = "${KEY_A}"\nsessions = "8"\n`, 'line 3: sessions of "alice"'],
    ['broken sessions', `[alice]\nkey = "${KEY_A}"\nsessions = 1.5\n`, 'line 3: sessions of "alice"'],
    ['too many sessions', `[alice]\nkey = "${KEY_A}"\nsessions = 1025\n`, 'line 3: sessions of "alice"'],
    ['a rate without unit', `[alice]\nkey = "${KEY_A}"\nrate = "20"\n`, 'line 3: rate of "alice": it must be bits'],
    ['a rate that is no text', `[alice]\nkey = "${KEY_A}"\nrate = 20\n`, 'line 3: rate of "alice"'],
    ['a rate in another unit', `[alice]\nkey = "${KEY_A}"\nrate = "20MB"\n`, 'line 3: rate of "alice"'],
    ['a rate of nothing', `[alice]\nkey = "${KEY_A}"\nrate = "0mbit"\n`, 'line 3: rate of "alice"'],
    ['a rate too low', `[alice]\nkey = "${KEY_A}"\nrate = "7kbit"\n`, 'line 3: rate of "alice"'],
    ['a rate too high', `[alice]\nkey = "${KEY_A}"\nrate = "101gbit"\n`, 'line 3: rate of "alice"'],
    ['a quota in bits', `[alice]\nkey = "${KEY_A}"\nquota = "20mbit"\n`, 'line 3: quota of "alice": it must be'],
    ['a quota without unit', `[alice]\nkey = "${KEY_A}"\nquota = 1000000\n`, 'line 3: quota of "alice"'],
    ['a quota too large', `[alice]\nkey = "${KEY_A}"\nquota = "1001TB"\n`, 'line 3: quota of "alice"'],
    ['an exit with limits', `[home]\nkey = "${KEY_A}"\nrole = "exit"\nsessions = 2\n`, 'line 4: "home" is an exit'],
    ['a key that everybody has', `[alice]\nkey = "${ZERO_KEY}"\n`, 'line 2: the key of "alice"'],
    ['__proto__', `[__proto__]\nkey = "${KEY_A}"\n`, 'is not a valid name'],
    ['a list of tables', `[[alice]]\nkey = "${KEY_A}"\n`, '"alice" must be a table'],
  ])('parseAccessList rejects a list with %s and names the line', (_what, text, message) => {
    expect(faultOf(() => parsed(text))).toBe('access-malformed');
    expect(() => parsed(text)).toThrow(message);
  });

  it('parseAccessList tells exits from clients; an entry without a role is a client', () => {
    const text = addEntry(`[alice]\nkey = "${KEY_A}"\n`, { ...entry('home', 1), role: 'exit' }, PARSERS);
    expect(text).toContain(`[home]\nkey = "${KEY_B}"\nrole = "exit"\n`);
    expect(parsed(text).map(({ name, role }) => [name, role])).toEqual([
      ['alice', 'client'],
      ['home', 'exit'],
    ]);
  });

  it('addEntry writes limits as parseAccessList reads them', () => {
    const limits = { sessions: 2, rate: 1_500_000, quota: 3 * 2 ** 30 };
    const text = addEntry(undefined, { ...entry('alice', 0), limits }, PARSERS);
    expect(parsed(text)[0]?.limits).toEqual(limits);
    expect(text).toContain('sessions = 2\nrate = "1500kbit"\nquota = "3GiB"\n');
    expect(parsed(addEntry(text, entry('bob', 1), PARSERS))[1]?.limits).toBeUndefined();
  });

  it('parseAccessList rejects a secret key without showing it', () => {
    const secret = formatIdentitySecret(createIdentity());
    const text = `[alice]\nkey = "${secret}"\n`;
    expect(() => parsed(text)).toThrow(/secret key/);
    expect(() => parsed(text)).not.toThrow(secret.slice(10, 20));
  });

  it('parseAccessList accepts names of object members like any other names', () => {
    const text = ['constructor', 'toString', 'hasOwnProperty'].reduce<string | undefined>(
      (list, name, at) => addEntry(list, entry(name, at), PARSERS),
      undefined,
    );
    expect(namesIn(text!)).toEqual(['constructor', 'toString', 'hasOwnProperty']);
  });

  it('parseAccessList limits the number of names and rules', () => {
    const rules = JSON.stringify(Array.from({ length: 257 }, (_, i) => `r${i}`));
    expect(() => parsed(`[alice]\nkey = "${KEY_A}"\nallow = ${rules}\n`)).toThrow(/more than 256 rules/);
    const many = Array.from({ length: 10_001 }, (_, i) => `[n${i}]\n`).join('');
    expect(() => parsed(many)).toThrow(/more than 10000 names/);
  });
});

describe('addEntry', () => {
  it('addEntry without a file makes one with an explanation', () => {
    const text = addEntry(undefined, entry('alice', 0, ['10.0.0.0/8']), PARSERS);
    expect(text).toMatch(/^# Who has access here/);
    expect(text.endsWith(`\n\n[alice]\nkey = "${KEY_A}"\nallow = ["10.0.0.0/8"]\n`)).toBe(true);
  });

  it('addEntry keeps the existing text, however it ends', () => {
    for (const old of [
      HAND_MADE,
      HAND_MADE.trimEnd(),
      `${HAND_MADE}\n\n`,
      HAND_MADE.replaceAll('\n', '\r\n'),
      '',
      '\n',
    ]) {
      const text = addEntry(old, entry('carol.x', 2), PARSERS);
      expect(text.startsWith(old)).toBe(true);
      expect(namesIn(text).at(-1)).toBe('carol.x');
    }
  });

  it('addEntry rejects a taken name or key, an invalid name or rule, and a malformed list', () => {
    expect(faultOf(() => addEntry(HAND_MADE, entry('alice', 2), PARSERS))).toBe('name-taken');
    expect(faultOf(() => addEntry(HAND_MADE, entry('carol', 0), PARSERS))).toBe('bad-key');
    for (const name of ['', '-a', '.a', 'a b', 'a/b', 'é', 'x'.repeat(64), 'a\n']) {
      expect(faultOf(() => addEntry(HAND_MADE, entry(name, 2), PARSERS))).toBe('bad-name');
    }
    expect(faultOf(() => addEntry(HAND_MADE, entry('carol', 2, ['bad']), PARSERS))).toBe('bad-rule');
    expect(faultOf(() => addEntry('[', entry('carol', 2), PARSERS))).toBe('access-malformed');
  });
});

describe('removeEntry', () => {
  it('removeEntry removes the table and keeps all comments around it, in order', () => {
    const text = removeEntry(HAND_MADE, 'alice', PARSERS);
    expect(text).toBe(`# My relay. Ask Ann before touching this!

# --- family ---

   # a phone
  ["bob.phone"]
  allow = []
  key = '${KEY_B}'

# --- the end ---
`);
    expect(removeEntry(text, 'bob.phone', PARSERS)).toBe(`# My relay. Ask Ann before touching this!

# --- family ---

   # a phone

# --- the end ---
`);
  });

  it('removeEntry keeps adjacent tables as they are', () => {
    const tight = `[alice]\nkey = "${KEY_A}"\n[bob]\nkey = "${KEY_B}"\n# carol's\n[carol]\nkey = "${KEY_C}"`;
    expect(removeEntry(tight, 'bob', PARSERS)).toContain(`# carol's\n[carol]\nkey = "${KEY_C}"`);
    for (const name of ['alice', 'bob', 'carol']) {
      const rest = ['alice', 'bob', 'carol'].filter((other) => other !== name);
      expect(namesIn(removeEntry(tight, name, PARSERS))).toEqual(rest);
    }
  });

  it('removeEntry after addEntry restores the text', () => {
    for (const old of [HAND_MADE, '# x\n', `[z]\nkey = "${KEY_C}"\n`]) {
      const text = removeEntry(addEntry(old, entry('dave', 3), PARSERS), 'dave', PARSERS);
      expect(text.trimEnd()).toBe(old.trimEnd());
    }
  });

  it('removeEntry works on a file with Windows line ends', () => {
    const text = HAND_MADE.replaceAll('\n', '\r\n');
    expect(namesIn(removeEntry(text, 'alice', PARSERS))).toEqual(['bob.phone']);
  });

  it('removeEntry rejects an unknown name', () => {
    expect(faultOf(() => removeEntry(HAND_MADE, 'Alice', PARSERS))).toBe('name-unknown');
  });

  it('removeEntry rejects an entry in an unexpected form, and removes nothing else', () => {
    const inline = `alice = { key = "${KEY_A}" }\n[bob]\nkey = "${KEY_B}"\n`;
    expect(() => removeEntry(inline, 'alice', PARSERS)).toThrow(/by hand/);
    expect(namesIn(removeEntry(inline, 'bob', PARSERS))).toEqual(['alice']);
    const dotted = `alice.key = "${KEY_A}"\n`;
    expect(() => removeEntry(dotted, 'alice', PARSERS)).toThrow(/by hand/);
  });
});

describe('replaceKeys', () => {
  const renewed = keys[2]!;

  it('replaceKeys replaces the key, and keeps all other characters', () => {
    const text = replaceKeys(HAND_MADE, new Map([['bob.phone', renewed]]), PARSERS);
    expect(text).toBe(HAND_MADE.replace(KEY_B, KEY_C));
    expect(parsed(text).map(({ name, key }) => [name, formatPublicIdentity(key)])).toEqual([
      ['alice', KEY_A],
      ['bob.phone', KEY_C],
    ]);
  });

  it('replaceKeys replaces several keys at once, also where one gets the key that another had', () => {
    const text = replaceKeys(
      HAND_MADE,
      new Map([
        ['bob.phone', renewed],
        ['alice', keys[1]!],
      ]),
      PARSERS,
    );
    expect(text).toBe(HAND_MADE.replace(KEY_B, KEY_C).replace(KEY_A, KEY_B));
  });

  it('replaceKeys rejects an unknown name, and a key of another entry', () => {
    expect(faultOf(() => replaceKeys(HAND_MADE, new Map([['carol', renewed]]), PARSERS))).toBe('name-unknown');
    expect(faultOf(() => replaceKeys(HAND_MADE, new Map([['alice', keys[1]!]]), PARSERS))).toBe('access-malformed');
  });

  it('replaceKeys rejects a text that it cannot edit', () => {
    const inline = `alice = { key = "${KEY_A}" }\n`;
    expect(faultOf(() => replaceKeys(inline, new Map([['alice', renewed]]), PARSERS))).toBe('access-malformed');
  });
});

describe('changeEntry', () => {
  const change = (
    text: string,
    name: string,
    { allow = [], disallow = [], limits = new Map(), ...more }: Partial<EntryChange>,
  ) => changeEntry(text, name, { allow, disallow, limits, ...more }, PARSERS);

  it('changeEntry adds and removes rules, and keeps comments, order, key and all other entries', () => {
    const more = change(HAND_MADE, 'alice', { allow: ['*.corp', '10.0.0.0/8:22,80'] });
    expect(more).toBe(HAND_MADE.replace('"[fd00::/8]:443",', '"[fd00::/8]:443", "*.corp",'));
    const less = change(more, 'alice', { disallow: ['10.0.0.0/8:22,80', '*.corp'] });
    expect(parsed(less)[0]).toMatchObject({ name: 'alice', allow: ['[fd00::/8]:443'] });
    for (const comment of ['# my laptop', '# the printer', '# ssh, web', '# more?', '# a phone', '# --- the end ---'])
      expect(less).toContain(comment);
    expect(change(HAND_MADE, 'bob.phone', { allow: ['a', 'b'] })).toBe(
      HAND_MADE.replace('allow = []', 'allow = ["a", "b"]'),
    );
  });

  it('changeEntry adds and removes rules for listening, beside those for targets', () => {
    const more = change(HAND_MADE, 'alice', { allow: ['*.corp'], listen: ['*:1', '*:2', '*:1'] });
    expect(parsed(more)[0]).toMatchObject({ listen: ['*:1', '*:2'] });
    expect(parsed(more)[0]?.allow).toContain('*.corp');
    const less = change(more, 'alice', { noListen: ['*:1'], listen: ['*:3'] });
    expect(parsed(less)[0]?.listen).toEqual(['*:2', '*:3']);
    const none = change(less, 'alice', { noListen: ['*:2', '*:3'] });
    expect(parsed(none)[0]?.listen).toBeUndefined();
    expect(faultOf(() => change(HAND_MADE, 'alice', { listen: ['bad'] }))).toBe('bad-rule');
    expect(() => change(HAND_MADE, 'alice', { noListen: ['a'] })).toThrow('"alice" does not have the rule a');
    const exit = `[home]\nkey = "${KEY_A}"\nrole = "exit"\n`;
    expect(faultOf(() => change(exit, 'home', { listen: ['*:1'] }))).toBe('bad-option');
  });

  it('changeEntry sets, changes and removes limits', () => {
    const set = change(HAND_MADE, 'alice', {
      limits: new Map([
        ['rate', 20_000_000],
        ['sessions', 2],
      ]),
    });
    expect(parsed(set)[0]?.limits).toEqual({ rate: 20_000_000, sessions: 2 });
    const noted = set.replace('rate = "20mbit"', '  rate = "20mbit"   # for "now"');
    const changed = change(noted, 'alice', {
      limits: new Map([
        ['rate', 5_000_000],
        ['sessions', undefined],
        ['quota', undefined],
      ]),
    });
    expect(changed).toContain('  rate = "5mbit"   # for "now"\n');
    expect(parsed(changed)[0]?.limits).toEqual({ rate: 5_000_000 });
    expect(changed.split('\n').length).toBe(noted.split('\n').length - 1);
  });

  it('changeEntry makes exactly the change on any list, or rejects it', () => {
    const rules = ['a', 'b:1', '[::1]:2', 'c'];
    const lists = [
      '[]',
      '["a"]',
      "['a',]",
      '["a", "b:1"]',
      '[\n  "a", # one\n  # "b:1"\n  "b:1",\n\n  "[::1]:2"\n]',
      '[ "a" , "c" , ]',
    ];
    for (const list of lists)
      for (const allow of [[], ['c'], ['a', 'c', 'x#y'], ['"']])
        for (const disallow of [[], ['a'], rules]) {
          const text = `[x]\nallow = ${list}\nkey = "${KEY_A}" # k\n\n# other\n[y]\nkey = "${KEY_B}"\nallow = ["a"]\n`;
          const before = parsed(text)[0]?.allow ?? [];
          const gone = disallow.filter((rule) => before.includes(rule));
          const kept = before.filter((rule) => !gone.includes(rule));
          const after = change(text, 'x', { allow, disallow: gone });
          expect(parsed(after)[0]?.allow).toEqual([...kept, ...allow.filter((rule) => !kept.includes(rule))]);
          expect(parsed(after)[1]).toEqual(parsed(text)[1]);
          expect(after.match(/#.*/g)?.length).toBeGreaterThanOrEqual(text.match(/#.*/g)?.length ?? 0);
        }
  });

  it('changeEntry rejects impossible changes with the reason', () => {
    expect(faultOf(() => change(HAND_MADE, 'carol', { allow: ['a'] }))).toBe('name-unknown');
    expect(faultOf(() => change(HAND_MADE, 'alice', { allow: ['bad'] }))).toBe('bad-rule');
    expect(() => change(HAND_MADE, 'alice', { disallow: ['a'] })).toThrow('"alice" does not have the rule a');
    const exit = `[home]\nkey = "${KEY_A}"\nrole = "exit"\n`;
    expect(faultOf(() => change(exit, 'home', { limits: new Map([['rate', 8_000]]) }))).toBe('bad-option');
    const inline = `alice = { key = "${KEY_A}" }\n`;
    expect(() => change(inline, 'alice', { allow: ['a'] })).toThrow('edit it by hand');
  });
});
