/**
 * The import table of the design (docs/architecture.md), read from the source itself. It names what each folder may
 * import; whatever is not named is forbidden. Types count: a type that crosses a border is a dependency too.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const SRC = fileURLToPath(new URL('../src', import.meta.url));
const MAX_LINES = 600;

/** Folders, or single files, of src; its own folder is open to each. `fault-table.ts` imports nothing. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  'fault-table.ts': [],
  'errors.ts': ['fault-table.ts'],
  'listen-fault.ts': ['errors.ts'],
  'clock.ts': [],
  // Beside code that the single file has inside itself.
  'assets.ts': [],
  async: ['clock.ts', 'errors.ts'],
  memory: [],
  net: [],
  limits: [],
  dns: [],
  protocol: ['errors.ts', 'memory', 'net'],
  crypto: ['errors.ts', 'limits', 'memory'],
  mux: ['protocol', 'errors.ts', 'limits', 'memory', 'mux/congestion', 'mux/links'],
  observability: ['errors.ts', 'net', 'protocol'],
  admin: ['errors.ts', 'listen-fault.ts', 'net', 'observability'],
  transport: ['async', 'clock.ts', 'errors.ts', 'memory', 'net'],
  'transport/connection': ['async', 'clock.ts', 'errors.ts', 'limits', 'memory', 'net', 'transport/dial-obstacle.ts'],
  'transport/http': ['memory', 'transport'],
  'transport/http-node': [
    'clock.ts',
    'errors.ts',
    'net',
    'transport',
    'transport/connection',
    'transport/http',
    'transport/websocket',
  ],
  'transport/websocket': ['clock.ts', 'errors.ts', 'memory', 'net', 'transport', 'transport/connection'],
  'transport/proxy': ['assets.ts', 'async', 'clock.ts', 'errors.ts', 'limits', 'net', 'transport/connection'],
  'mux/congestion': ['protocol'],
  'mux/links': ['protocol', 'memory', 'mux/congestion'],
  'tunnel/stream': ['async', 'clock.ts', 'protocol', 'mux', 'errors.ts', 'memory'],
  'tunnel/reconnect': ['async', 'clock.ts', 'errors.ts'],
  'tunnel/routes': [
    'clock.ts',
    'errors.ts',
    'limits',
    'net',
    'transport/connection/via.ts',
    'transport/dial-obstacle.ts',
  ],
  'tunnel/dial': [
    'async',
    'clock.ts',
    'protocol',
    'crypto',
    'transport',
    'errors.ts',
    'limits',
    'memory',
    'observability',
    'tunnel/stream',
    'tunnel/reconnect',
    'tunnel/routes',
  ],
  'tunnel/session': [
    'async',
    'clock.ts',
    'protocol',
    'crypto',
    'mux',
    'transport',
    'errors.ts',
    'limits',
    'memory',
    'observability',
    'tunnel/stream',
    'tunnel/reconnect',
    'tunnel/routes',
    'tunnel/dial',
  ],
  proxy: ['clock.ts', 'errors.ts', 'limits', 'listen-fault.ts', 'memory', 'observability', 'net', 'tunnel/stream'],
  forward: ['clock.ts', 'errors.ts', 'listen-fault.ts', 'net', 'observability', 'proxy', 'tunnel/stream'],
  transparent: ['clock.ts', 'errors.ts', 'listen-fault.ts', 'net', 'observability', 'proxy', 'tunnel/stream'],
  exit: ['async', 'clock.ts', 'errors.ts', 'limits', 'memory', 'observability', 'net', 'tunnel/stream'],
  'exit/udp': ['clock.ts', 'errors.ts', 'exit', 'limits', 'net', 'observability', 'tunnel/stream'],
  'exit/listen': ['clock.ts', 'errors.ts', 'exit', 'limits', 'net', 'observability', 'tunnel/stream'],
  'exit/dns': ['async', 'clock.ts', 'dns', 'errors.ts', 'exit', 'memory', 'net', 'observability', 'tunnel/stream'],
  'exit/serving': ['clock.ts', 'errors.ts', 'exit', 'net', 'observability', 'tunnel/stream'],
  'name-server': ['clock.ts', 'dns', 'errors.ts', 'listen-fault.ts', 'memory', 'net', 'observability', 'tunnel/stream'],
  remote: [
    'async',
    'clock.ts',
    'errors.ts',
    'exit/target-dial-faults.ts',
    'forward/forward-log.ts',
    'memory',
    'net',
    'observability',
    'proxy/socks-negotiation.ts',
    'proxy/socks4.ts',
    'proxy/socks5.ts',
    'tunnel/reconnect',
    'tunnel/stream',
  ],
  relay: [
    'clock.ts',
    'crypto/ticket.ts',
    'memory',
    'net',
    'transport',
    'errors.ts',
    'limits',
    'listen-fault.ts',
    'observability',
    'relay/proxies',
    'relay/site',
  ],
  'relay/proxies': ['clock.ts', 'errors.ts', 'net'],
  'relay/site': ['clock.ts', 'errors.ts', 'observability'],
  workers: [
    'clock.ts',
    'crypto/replay-guard.ts',
    'crypto/ticket.ts',
    'errors.ts',
    'observability',
    'relay',
    'transport',
    'tunnel/session/session-places.ts',
  ],
  cluster: [
    'async',
    'clock.ts',
    'crypto/keys.ts',
    'crypto/names.ts',
    'crypto/relay-url.ts',
    'errors.ts',
    'observability',
    'relay/other-nodes.ts',
    'relay/rendezvous.ts',
    'state',
    'transport/message-link.ts',
  ],
  state: ['async', 'clock.ts', 'crypto', 'errors.ts', 'observability'],
  acme: ['async', 'clock.ts', 'errors.ts', 'observability'],
  'tether/shared': [],
  'tether/page': ['tether/shared'],
  'tether/laptop': [
    'assets.ts',
    'async',
    'clock.ts',
    'errors.ts',
    'limits',
    'listen-fault.ts',
    'net',
    'observability',
    'transport',
    'tether/shared',
  ],
  'tether/browser': ['clock.ts', 'errors.ts', 'observability', 'tether/shared'],
  vpn: ['async', 'clock.ts', 'errors.ts', 'net', 'observability', 'state'],
  programs: ['clock.ts', 'errors.ts', 'net', 'observability', 'tether/browser'],
  control: ['async', 'clock.ts', 'errors.ts', 'state'],
  doctor: [
    'async',
    'clock.ts',
    'errors.ts',
    'net',
    'transport/connection/via.ts',
    'transport/dial-obstacle.ts',
    'tunnel/routes',
  ],
  app: [
    'admin',
    'cluster',
    'control',
    'acme',
    'assets.ts',
    'async',
    'clock.ts',
    'doctor',
    'errors.ts',
    'listen-fault.ts',
    'memory',
    'net',
    'crypto',
    'mux',
    'observability',
    'transport',
    'tunnel',
    'name-server',
    'proxy',
    'exit',
    'relay',
    'remote',
    'state',
    'tether',
    'forward',
    'transparent',
    'vpn',
  ],
  'index.ts': ['app', 'errors.ts', 'net', 'observability'],
  'cli/terminal': ['app/status.ts'],
  cli: [
    'cli/terminal',
    'app',
    'assets.ts',
    'async',
    'clock.ts',
    'doctor/checks.ts',
    'doctor/verdict.ts',
    'crypto/invite.ts',
    'crypto/pasted-text.ts',
    'crypto/relay-url.ts',
    'errors.ts',
    'net',
    'observability',
    'protocol/frames.ts',
    'programs',
    'proxy/credentials.ts',
    'proxy/listen-check.ts',
    'proxy/own-answers.ts',
    'state',
    'tether/browser/find-browser.ts',
    'tether/browser/private-folder.ts',
    'tunnel/reconnect/outage.ts',
    'tunnel/routes/route.ts',
    'relay/shared-load.ts',
    'workers',
    'vpn',
  ],
};

/**
 * Folders without sockets, files or clocks, and all that they may import of Node and npm. tsconfig.pure.json compiles
 * them without Node's types, all but crypto, whose ciphers are Node's, and async and doctor, whose AbortSignal is
 * Node's. Of Node's globals they have the memory functions of `Buffer` (tools/pure-globals.d.ts): protocol and mux
 * would be slower without them.
 */
const PURE: Readonly<Record<string, readonly string[]>> = {
  async: [],
  memory: [],
  net: [],
  limits: [],
  dns: [],
  protocol: [],
  mux: [],
  'mux/congestion': [],
  'mux/links': [],
  'transport/http': [],
  'tether/shared': ['tweetnacl'],
  crypto: ['node:crypto', 'node:buffer', 'node:util', 'tweetnacl'],
  'proxy/http1': [],
  'cli/terminal': [],
  doctor: [],
};

/** Folders that take a Clock. Only the named files call clocks, timers and random numbers that are no secrets. */
const TAKES_CLOCK = /^(?:acme|async|doctor|name-server|programs|remote|transport|tunnel|tether|relay|state)\//;
const IS_CLOCK = ['tether/page/browser-clock.ts', 'tether/page/page-clock.ts'];
const CALLS_CLOCK =
  /\bperformance\.now|\bDate\.now|\bnew Date\(\)|(?<!(?:clock|socket)\.)\bset(?:Timeout|Interval)\(|\bMath\.random|node:timers/i;

/**
 * Packages, and the folders that own them, so that another can take their place there. tether: its page runs where
 * node:crypto is not.
 */
const OWNED: Readonly<Record<string, readonly string[]>> = {
  ws: ['transport'],
  pino: ['observability'],
  tweetnacl: ['crypto', 'tether'],
  uqr: ['cli'],
  '@peculiar/x509': ['state'],
  socks: ['transport'],
  'pac-resolver': ['transport'],
  'quickjs-wasi': ['transport'],
  'acme-client': ['acme'],
  'prom-client': ['admin'],
};

/** Where a carrier opens links to a relay; who may: the table of carriers, and the carrier's own folder. */
const CARRIER_DIAL = /^transport\/(?!connection\/)[^/]+\/[^/]*dial[^/]*\.ts$/;
const CARRIER_TABLE = 'tunnel/dial/carriers.ts';

/** Comments wrap like code. */
const MAX_COLUMNS = 120;
const COMMENT = /^\s*(?:\/\/|\/?\*)|\s\/\/ /;

/**
 * The only files with `#private` members: what holds secrets shows none to `inspect`, JSON or a crash report. All
 * other classes use TypeScript's `private`.
 */
const HOLDS_SECRETS = [
  'crypto/http-link.ts',
  'crypto/keys.ts',
  'crypto/noise.ts',
  'crypto/record-cipher.ts',
  'proxy/credentials.ts',
  'tether/laptop/pairing-secrets.ts',
  'transport/connection/relay-tls.ts',
  'transport/connection/tls-sessions.ts',
  'transport/proxy/proxy-credentials.ts',
];

interface Source {
  /** Relative to src, with slashes. */
  readonly path: string;
  readonly text: string;
}

/** A room: the innermost folder with a row in the table; else a folder of src, or a file at its top. */
function unitOf(path: string): string {
  const parts = path.split('/');
  const inner = parts.slice(0, 2).join('/');
  return parts.length > 2 && MAY_IMPORT[inner] !== undefined ? inner : (parts[0] ?? path);
}

const withoutComments = (text: string): string => text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '');

function importsOf({ text }: Source): string[] {
  const code = withoutComments(text);
  const statement = /\b(?:import|export)\b[^;'"`]*?\bfrom\s*['"]([^'"]+)['"]|\bimport\s*\(?\s*['"]([^'"]+)['"]/g;
  return [...code.matchAll(statement)].map((match) => match[1] ?? match[2] ?? '');
}

const resolved = (source: Source, specifier: string): string => normalize(join(dirname(source.path), specifier));

function mayReach(from: string, target: string): boolean {
  const allowed = MAY_IMPORT[from];
  const room = unitOf(target);
  // A row that names a folder opens all of its rooms.
  const names = [target, room, room.split('/')[0] ?? room];
  return room === from || names.some((name) => allowed?.includes(name) ?? false);
}

/** What one import breaks; undefined if nothing. */
function violation(source: Source, specifier: string): string | undefined {
  const from = unitOf(source.path);
  if (MAY_IMPORT[from] === undefined) return `${source.path}: ${from} is not in the import table`;
  if (specifier.startsWith('.')) {
    const target = resolved(source, specifier);
    return mayReach(from, target) ? undefined : `${source.path} must not import ${target}`;
  }
  const name = specifier.split('/')[0] ?? specifier;
  const pure = PURE[from] ?? PURE[dirname(source.path)];
  if (pure !== undefined && !pure.includes(specifier)) return `${source.path} is pure and must not import ${specifier}`;
  const owners = OWNED[name];
  return owners === undefined || owners.includes(from.split('/')[0] ?? from)
    ? undefined
    : `${source.path} must leave ${name} to ${owners[0]}`;
}

function violations(sources: readonly Source[]): string[] {
  return sources.flatMap((source) => importsOf(source).flatMap((specifier) => violation(source, specifier) ?? []));
}

/** A folder that reaches itself through others, as the way round; undefined if there is none. */
function cycle(sources: readonly Source[]): string[] | undefined {
  const edges = new Map<string, Set<string>>();
  for (const source of sources) {
    const from = unitOf(source.path);
    const targets = edges.get(from) ?? new Set();
    edges.set(from, targets);
    for (const specifier of importsOf(source)) {
      if (specifier.startsWith('.')) targets.add(unitOf(resolved(source, specifier)));
    }
  }
  const walk = (way: string[]): string[] | undefined => {
    for (const next of edges.get(way.at(-1) ?? '') ?? []) {
      if (next === way.at(-1)) continue;
      if (way.includes(next)) return [...way.slice(way.indexOf(next)), next];
      const found = walk([...way, next]);
      if (found !== undefined) return found;
    }
    return undefined;
  };
  for (const start of edges.keys()) {
    const found = walk([start]);
    if (found !== undefined) return found;
  }
  return undefined;
}

function readSources(): Source[] {
  return readdirSync(SRC, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => join(entry.parentPath, entry.name))
    .map((file) => ({ path: relative(SRC, file).replaceAll('\\', '/'), text: readFileSync(file, 'utf8') }));
}

const sources = readSources();

describe('the source', () => {
  it('imports only what the table allows', () => {
    expect(sources.length).toBeGreaterThan(10);
    expect(violations(sources)).toEqual([]);
  });

  it('dials by a carrier only in the table of carriers', () => {
    const dialsBy = (source: Source): boolean =>
      importsOf(source).some((specifier) => CARRIER_DIAL.test(resolved(source, specifier)));
    const outside = sources.filter(({ path }) => !path.startsWith('transport/'));
    expect(outside.filter(dialsBy).map(({ path }) => path)).toEqual([CARRIER_TABLE]);
  });

  it('has no cycle between folders', () => {
    expect(cycle(sources)).toBeUndefined();
  });

  it(`has no file over ${MAX_LINES} lines`, () => {
    const long = sources.filter(({ text }) => text.split('\n').length - 1 > MAX_LINES);
    expect(long.map(({ path }) => path)).toEqual([]);
  });

  it(`has no comment wider than ${MAX_COLUMNS} columns`, () => {
    const wide = sources.flatMap(({ path, text }) =>
      text
        .split('\n')
        .flatMap((line, at) => (line.length > MAX_COLUMNS && COMMENT.test(line) ? [`${path}:${at + 1}`] : [])),
    );
    expect(wide).toEqual([]);
  });

  it('calls no clock, timer or Math.random where a Clock is handed in', () => {
    const callers = sources.filter(
      ({ path, text }) => TAKES_CLOCK.test(path) && !IS_CLOCK.includes(path) && CALLS_CLOCK.test(withoutComments(text)),
    );
    expect(callers.map(({ path }) => path)).toEqual([]);
  });

  it('has #private members only where secrets are held', () => {
    const hidden = sources.filter(({ text }) => /^ +(?:[a-z]+ )*#\w+|\.#\w/m.test(text));
    expect(new Set(hidden.map(({ path }) => path))).toEqual(new Set(HOLDS_SECRETS));
  });

  it('compiles every pure folder but async, crypto and doctor without the types of Node', () => {
    const { include } = JSON.parse(readFileSync(join(SRC, '../tsconfig.pure.json'), 'utf8')) as { include: string[] };
    const compiled = (folder: string): boolean => include.some((path) => `src/${folder}/`.startsWith(`${path}/`));
    expect(Object.keys(PURE).filter((folder) => !compiled(folder))).toEqual(['async', 'crypto', 'doctor']);
  });

  it('opens every file with a comment that says what it owns', () => {
    const bare = sources.filter(({ text }) => !/^(#!.*\n)?\/(\*\*|\/) ?\S?/.test(text));
    expect(bare.map(({ path }) => path)).toEqual([]);
  });
});

describe('this check', () => {
  const file = (path: string, text: string): Source => ({ path, text });

  it.each<[string, string, string]>([
    ['mux/a.ts', "import { x } from '../transport/y.ts';", 'mux/a.ts must not import transport/y.ts'],
    ['mux/a.ts', "import type {\n  x,\n} from '../tunnel/dial/y.ts';", 'mux/a.ts must not import tunnel/dial/y.ts'],
    ['relay/a.ts', "import { x } from '../crypto/keys.ts';", 'relay/a.ts must not import crypto/keys.ts'],
    [
      'proxy/a.ts',
      "export * from '../tunnel/session/tunnel-client.ts';",
      'proxy/a.ts must not import tunnel/session/tunnel-client.ts',
    ],
    ['tunnel/dial/a.ts', "import '../session/b.ts';", 'tunnel/dial/a.ts must not import tunnel/session/b.ts'],
    ['tether/shared/a.ts', "import '../page/b.ts';", 'tether/shared/a.ts must not import tether/page/b.ts'],
    ['tether/shared/a.ts', "import 'node:net';", 'tether/shared/a.ts is pure and must not import node:net'],
    ['tunnel/dial/a.ts', "await import('../../cli/main.ts');", 'tunnel/dial/a.ts must not import cli/main.ts'],
    ['tunnel/a.ts', "import './dial/b.ts';", 'tunnel/a.ts: tunnel is not in the import table'],
    ['errors.ts', "import './observability/logger.ts';", 'errors.ts must not import observability/logger.ts'],
    ['protocol/a.ts', "import net from 'node:net';", 'protocol/a.ts is pure and must not import node:net'],
    ['crypto/a.ts', "import fs from 'node:fs/promises';", 'crypto/a.ts is pure and must not import node:fs/promises'],
    ['tunnel/dial/a.ts', "import { WebSocket } from 'ws';", 'tunnel/dial/a.ts must leave ws to transport'],
    ['cli/a.ts', "import { x } from '../relay/gate.ts';", 'cli/a.ts must not import relay/gate.ts'],
    ['app/a.ts', "import { x } from '../cli/output.ts';", 'app/a.ts must not import cli/output.ts'],
    ['newcomer/a.ts', "import 'node:fs';", 'newcomer/a.ts: newcomer is not in the import table'],
  ])('sees what %s must not do: %s', (path, text, expected) => {
    expect(violations([file(path, text)])).toEqual([expected]);
  });

  it.each<[string, string]>([
    ['relay/a.ts', "import { x } from '../crypto/ticket.ts';"],
    ['proxy/a.ts', "import type { x } from '../tunnel/stream/stream.ts';"],
    ['cli/a.ts', "import { x } from '../app/relay.ts';"],
    ['mux/a.ts', "/** import { x } from '../cli/main.ts' */ import { y } from './b.ts'; // from '../cli/x.ts'"],
  ])('lets %s do: %s', (path, text) => {
    expect(violations([file(path, text)])).toEqual([]);
  });

  it.each([
    'const now = performance.now();',
    'Date.now()',
    'new Date()',
    'setTimeout(f, 5)',
    'setInterval(f, 5)',
    'Math.random()',
    "import { setTimeout } from 'node:timers/promises';",
  ])('sees the clock in %s', (text) => {
    expect(CALLS_CLOCK.test(text)).toBe(true);
    expect(CALLS_CLOCK.test('this.clock.setTimeout(f, 5); clock.now();')).toBe(false);
  });

  it('sees a cycle', () => {
    const ring = [
      file('a/1.ts', "import '../b/1.ts';"),
      file('b/1.ts', "import '../c/1.ts';"),
      file('c/1.ts', "import '../b/2.ts';"),
    ];
    expect(cycle(ring)).toEqual(['b', 'c', 'b']);
  });
});
