/**
 * README.md as a newcomer uses it: every block is pasted as it stands into terminals with bash and with zsh, on a
 * server, a laptop and a machine at home, which have nothing of wstun but its tarball.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { PATIENCE } from '../support/patience.ts';
import { runWell } from '../support/programs/programs.ts';
import type { Shell, ShellWindow } from '../support/programs/shell-window.ts';
import { readmeBlocks } from '../support/readme/blocks.ts';
import { type Checkout, makeCheckout } from '../support/readme/checkout.ts';
import { answer, inviteIn, Reader } from '../support/readme/reader.ts';
import { type BlockName, block, ROWS } from '../support/readme/table.ts';
import { PROXY_PASSWORD, SHOWN, startWorld, type World } from '../support/readme/world.ts';
import { tempDir } from '../support/temp-dir.ts';
import { Phone } from '../support/tether/phone.ts';
import { until } from '../support/until.ts';

const SHELLS: readonly Shell[] = ['bash', 'zsh'];
const NPM_LIMIT_MS = 300_000;
const TEST_LIMIT = { timeout: 2 * NPM_LIMIT_MS * PATIENCE };
const CARRY_LIMIT_MS = 30_000;

let world: World;
let checkout: Checkout;
/** Of the installation by the first block. */
let prefix = '';
/** `client in bash`. */
const pasted = new Set<string>();

const readerIn = (shell: Shell) =>
  new Reader(world, shell, join(prefix, 'bin'), (name) => pasted.add(`${name} in ${shell}`));

const developer = async (shell: Shell): Promise<ShellWindow> => {
  const at = { within: [], address: world.address };
  const env = checkout.env(prefix);
  return await world.window(at, shell, { home: await tempDir(), cwd: checkout.folder, path: [], env });
};

/** Has the tarball, and README.md. */
class Newcomer {
  commands = 0;
  private ms = 0;

  private constructor(
    private readonly on: 'server' | 'laptop',
    readonly window: ShellWindow,
    private readonly reader: Reader,
  ) {}

  static async at(on: 'server' | 'laptop', shell: Shell): Promise<Newcomer> {
    const reader = readerIn(shell);
    const user = await reader.user(world[on]);
    await runWell('cp', [join(checkout.folder, 'wstun-0.1.0.tgz'), user.home]);
    const own = await tempDir();
    const window = await user.window({ path: [join(own, 'bin')], env: checkout.env(own) });
    return new Newcomer(on, window, reader);
  }

  /** @param done resolves when its result is there */
  async types(name: BlockName, done: (window: ShellWindow) => Promise<unknown>): Promise<void> {
    const since = performance.now();
    this.commands += 1;
    this.reader.paste(this.window, name);
    await done(this.window);
    this.ms += performance.now() - since;
  }

  describe(): string {
    return `${this.commands} commands on the ${this.on}, ${(this.ms / 1000).toFixed(1)} s`;
  }
}

beforeAll(
  async () => {
    world = await startWorld();
    checkout = await makeCheckout(world.address);
    prefix = await tempDir();
    const window = await developer('bash');
    pasted.add('install in bash');
    await window.runWell(block('install').trimEnd(), NPM_LIMIT_MS);
  },
  2 * NPM_LIMIT_MS * PATIENCE,
);

it('README.md has no block that this test does not know, and the test none that is not in README.md', () => {
  const found = readmeBlocks().map(({ language, text }) => ({ language, text }));
  expect(found).toEqual(ROWS.map(([name, { language = 'sh' }]) => ({ language, text: block(name) })));
});

it('two blocks of README.md are not run by this test: `npm ci && npm test` runs it, and the other one is a drawing', async () => {
  const unrun = ROWS.filter(([, { where }]) => where === 'nowhere').map(([name]) => name);
  expect(unrun).toEqual(['drawing', 'test']);
  const { scripts } = JSON.parse(await readFile(join(checkout.folder, 'package.json'), 'utf8')) as {
    readonly scripts: Readonly<Record<string, string>>;
  };
  expect(scripts.test).toContain('vitest run');
  for (const shell of SHELLS) await runWell(shell, ['-n', '-c', block('test')]);
});

it(
  'from the tarball, a newcomer types two commands on a server and two on a laptop, and sees a page in Chromium',
  TEST_LIMIT,
  async () => {
    const server = await Newcomer.at('server', 'bash');
    const laptop = await Newcomer.at('laptop', 'zsh');
    for (const each of [server, laptop])
      await each.types('installTarball', (window) => window.endedWell(1, NPM_LIMIT_MS));
    await server.types('selfSigned', (window) => window.see('Paste this line on the laptop'));
    const since = world.visits.length;
    await laptop.types('browser', async (window) => {
      await answer(window, inviteIn(server.window.shown));
      await until(() => world.visits.slice(since).some(({ path }) => path === SHOWN), CARRY_LIMIT_MS);
    });
    const sources = world.visits.slice(since).map(({ from }) => from);
    expect(new Set(sources)).toEqual(new Set([world.server.address]));
    expect([server.commands, laptop.commands]).toEqual([2, 2]);
    expect(await laptop.window.interrupt()).toBe(0);
    expect(await server.window.interrupt()).toBe(0);
    process.stdout.write(`newcomer: ${server.describe()}; ${laptop.describe()}\n`);
  },
);

it('the quickstart block of README.md prints a curl line that works', TEST_LIMIT, async () => {
  const window = await developer('zsh');
  pasted.add('quickstart in zsh');
  window.paste(block('quickstart'));
  const shown = await window.see('Press Ctrl-C to stop', NPM_LIMIT_MS);
  const [line = ''] = /^ *curl .*hello.*$/m.exec(shown) ?? [];
  expect(await (await developer('zsh')).runWell(line.trim())).toContain('wstun works');
  // Of npm, when Ctrl-C has ended what it runs.
  expect(await window.interrupt()).toBe(130);
});

describe.each(SHELLS)('the blocks of README.md in %s', (shell) => {
  it('without a domain: relay, client, browser, and ways by a browser and a phone', TEST_LIMIT, async () => {
    const reader = readerIn(shell);
    const { address } = world.server;
    const relay = await reader.startRelay('selfSigned');
    const laptop = await reader.user(world.laptop);
    const client = await reader.join(laptop, relay.invite);
    const other = await laptop.window();
    const before = world.visits.length;
    reader.paste(other, 'browser');
    await until(() => world.visits.slice(before).some(({ path }) => path === SHOWN), CARRY_LIMIT_MS);
    const [first] = world.visits.slice(before);
    expect(first).toMatchObject({ from: address, path: '/', agent: expect.stringContaining('Chrome/') });
    expect(await other.interrupt()).toBe(0);
    expect(await client.interrupt()).toBe(0);

    reader.paste(client, 'viaBrowser');
    await client.see('wstun is ready');
    expect(await reader.fetchThrough(laptop)).toEqual([address]);
    expect(await other.runWell('wstun status')).toContain('by a browser');
    expect(await client.interrupt()).toBe(0);

    const relayLost = ['OUTPUT', '-d', address, '-j', 'REJECT'];
    await runWell('iptables', ['-w', '-A', ...relayLost], { within: world.laptop.within });
    reader.paste(client, 'tether');
    const [, url = ''] = /^ *(http:\/\/\S+)$/m.exec(await client.see('Scan this with a phone')) ?? [];
    const phone = await Phone.start({ args: ['--ignore-certificate-errors'] });
    const page = await phone.open(url);
    await page.until('active', CARRY_LIMIT_MS);
    await client.see('wstun is ready');
    expect(await reader.fetchThrough(laptop)).toEqual([address]);
    expect(await client.interrupt()).toBe(0);
    await runWell('iptables', ['-w', '-D', ...relayLost], { within: world.laptop.within });
    expect(await relay.window.interrupt()).toBe(0);
  });

  it(
    'with a domain: programs, ssh, what to look at, a proxy with a password, more people, an exit of your own',
    TEST_LIMIT,
    async () => {
      const reader = readerIn(shell);
      const { address } = world.server;
      const { directory, caFile } = world.pebble;
      const relay = await reader.startRelay('acme', {
        env: { WSTUN_ACME_DIRECTORY: directory, WSTUN_ACME_CA: caFile },
      });
      await relay.window.see('a new TLS certificate is in use');
      const laptop = await reader.user(world.laptop);
      const client = await reader.join(laptop, relay.invite);
      const other = await laptop.window();
      const since = world.visits.length;
      expect(await reader.run(other, 'run')).toContain('Example domain');
      await reader.run(other, 'env');
      expect(await other.runWell('curl https://example.org/')).toContain('Example domain');
      expect(world.visits.slice(since).map(({ from }) => from)).toEqual([address, address]);
      reader.paste(other, 'ssh');
      other.type('echo "from=$SSH_CONNECTION"; exit\n');
      await other.see(new RegExp(`^from=${address} `, 'm'));
      expect(await other.ended()).toEqual([0]);
      expect(await reader.run(other, 'looks')).toContain('relay.example.org');
      expect(await client.interrupt()).toBe(0);

      await writeFile(join(laptop.home, '.wstun-proxy'), `${PROXY_PASSWORD}\n`, { mode: 0o600 });
      reader.paste(client, 'proxy');
      await client.see('wstun is ready');
      expect(await reader.fetchThrough(laptop)).toEqual([address]);
      const logged = world.squid.accessLog().length;
      expect(await client.interrupt()).toBe(0);
      // It logs a tunnel when that has ended.
      const tunnel = /^200 CONNECT relay\.example\.org:443 jo$/;
      await until(() =>
        world.squid
          .accessLog()
          .slice(logged)
          .some((line) => tunnel.test(line)),
      );

      const admin = await relay.user.window();
      const list = await reader.run(admin, 'access');
      for (const name of ['alice', 'bob', '10.0.0.0/8:22,443', '*.corp.example']) expect(list).toContain(name);
      const home = await reader.user(world.home);
      const exit = await home.window();
      reader.paste(exit, 'exit');
      await answer(exit, inviteIn(await reader.run(admin, 'exitInvite')));
      await exit.see('is registered at');
      const carol = await reader.user(world.laptop);
      const ofCarol = await reader.join(carol, inviteIn(await reader.run(await home.window(), 'exitAccess')));
      expect(await reader.fetchThrough(carol)).toEqual([world.home.address]);
      expect(await ofCarol.interrupt()).toBe(0);
      expect(await exit.interrupt()).toBe(0);
      expect(await relay.window.interrupt()).toBe(0);
    },
  );

  it('behind Caddy, with the Caddyfile as it stands', TEST_LIMIT, async () => {
    const reader = readerIn(shell);
    const relay = await reader.startRelay('behind');
    const folder = await tempDir();
    const own = '{\n\tlocal_certs\n\tskip_install_trust\n\tadmin off\n}\n';
    await writeFile(join(folder, 'Caddyfile'), own + block('caddyfile'));
    const caddy = await relay.user.window({ cwd: folder, env: { XDG_DATA_HOME: folder, XDG_CONFIG_HOME: folder } });
    caddy.paste('caddy run\n');
    const root = join(folder, 'caddy/pki/authorities/local/root.crt');
    await caddy.see('certificate obtained successfully');
    const laptop = await reader.user(world.laptop);
    const client = await reader.join(laptop, relay.invite, { env: { NODE_EXTRA_CA_CERTS: root } });
    expect(await reader.fetchThrough(laptop)).toEqual([world.server.address]);
    expect(await client.interrupt()).toBe(0);
    expect(await relay.window.interrupt()).toBe(0);
    await caddy.interrupt();
  });

  it('a relay that is a web site to strangers', TEST_LIMIT, async () => {
    const reader = readerIn(shell);
    const { directory, caFile } = world.pebble;
    const index = '<p>an ordinary site';
    const site = `mount -t tmpfs none /var && mkdir -p /var/www/site && echo "${index}" >/var/www/site/index.html`;
    const relay = await reader.startRelay('decoy', {
      env: { WSTUN_ACME_DIRECTORY: directory, WSTUN_ACME_CA: caFile },
      through: ['sh', '-c', `${site} && exec "$0" "$@"`],
    });
    await relay.window.see('a new TLS certificate is in use');
    const laptop = await reader.user(world.laptop);
    expect(await (await laptop.window()).runWell('curl -sS https://www.example.org/')).toContain(index);
    const client = await reader.join(laptop, relay.invite);
    expect(await reader.fetchThrough(laptop)).toEqual([world.server.address]);
    expect(await client.interrupt()).toBe(0);
    expect(await relay.window.interrupt()).toBe(0);
  });
});

it('the tests above have pasted each block of README.md into each shell of its row', () => {
  const wanted = ROWS.flatMap(([name, { shells = SHELLS }]) => shells.map((shell) => `${name} in ${shell}`));
  expect(pasted).toEqual(new Set(wanted));
});
