/**
 * Where a reader of README.md pastes its blocks: a server, a laptop and a machine at home, each with its names, and the
 * internet, which is the test itself: a web site, an ssh server, a company's proxy, a certificate authority.
 */
import { createHash, createPublicKey } from 'node:crypto';
import { once } from 'node:events';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { createServer } from 'node:https';
import { join } from 'node:path';
import { type Machine, startSmallInternet } from '../net/small-internet.ts';
import { makeAuthority } from '../programs/authority.ts';
import { type Pebble, startPebble } from '../programs/pebble.ts';
import { type Shell, ShellWindow } from '../programs/shell-window.ts';
import { type Squid, startSquid } from '../programs/squid.ts';
import { startSshd } from '../programs/sshd.ts';
import { atEnd } from '../scope.ts';
import { tempDir } from '../temp-dir.ts';
import { pathWith } from './checkout.ts';

export interface Visit {
  /** The address from which it came. */
  readonly from: string;
  readonly path: string;
  readonly agent: string;
}

export const PROXY_PASSWORD = 'jo:correct-horse';
/** What the page of https://example.org/ says when a browser has shown it. */
export const SHOWN = '/shown-by-its-script';

const PAGE = `<!doctype html><title>Example</title><p>Example domain
<script>addEventListener('load', () => fetch('${SHOWN}'))</script>
`;

const SERVER = '51.0.0.10';
const LAPTOP = '51.0.0.20';
const HOME = '51.0.0.30';

export interface World {
  /** Of the test. */
  readonly address: string;
  readonly server: Machine;
  readonly laptop: Machine;
  readonly home: Machine;
  readonly pebble: Pebble;
  readonly squid: Squid;
  /** Of the web site, in order. */
  readonly visits: readonly Visit[];
  /** A window on a machine, of a user with that home directory. @param env beside what every user has */
  window(at: Machine, shell: Shell, options: WindowOptions): Promise<ShellWindow>;
}

export interface WindowOptions {
  readonly home: string;
  readonly cwd?: string;
  /** Folders with programs, before all others. */
  readonly path: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** A command in front of the shell. */
  readonly through?: readonly string[];
}

/** Until the test, or the file, is over. */
export async function startWorld(): Promise<World> {
  const { address, addMachine } = await startSmallInternet();
  const web = await startWebSite(address);
  const sshd = await startSshd({ address, port: 22 });
  const squid = await startProxy(address);
  const names = { addresses: [SERVER] };
  const pebble = await startPebble({
    ...{ address, tlsPort: 443, httpPort: 80 },
    names: { 'relay.example.org': names, 'www.example.org': names },
  });
  const ssh = sshd.options.filter((option) => option.includes('=')).map((option) => option.replace('=', ' '));
  const [server, laptop, home] = [
    await addMachine({ address: SERVER, hosts: { [address]: 'example.org example.com host.example.org' } }),
    // Not the names of targets: they are for the exit to resolve.
    await addMachine({
      address: LAPTOP,
      hosts: { [SERVER]: 'relay.example.org www.example.org', [address]: 'proxy.corp.example' },
      files: { 'ssh/ssh_config': `Host *\n${ssh.join('\n')}\n` },
    }),
    await addMachine({ address: HOME, hosts: { [SERVER]: 'relay.example.org', [address]: 'example.org' } }),
  ];
  const trusted = join(await tempDir(), 'ca.pem');
  await writeFile(trusted, web.authority + pebble.root);
  const desktop = await makeDesktop(web.pin);
  const window: World['window'] = (at, shell, { home: own, path, env = {}, through = [], cwd }) =>
    ShellWindow.open(shell, {
      env: {
        ...{ HOME: own, PATH: pathWith(...path, desktop), LANG: 'C.UTF-8' },
        ...{ NODE_EXTRA_CA_CERTS: trusted, CURL_CA_BUNDLE: trusted },
        ...env,
      },
      within: [...at.within, ...through],
      cwd: cwd ?? own,
    });
  return { address, server, laptop, home, pebble, squid, visits: web.visits, window };
}

async function startWebSite(address: string) {
  const authority = makeAuthority('/CN=the web');
  const pair = authority.issue('DNS:example.org,DNS:example.com');
  const visits: Visit[] = [];
  const server = createServer(pair, (request, response) => {
    const { socket, url = '', headers } = request;
    visits.push({ from: socket.remoteAddress ?? '', path: url, agent: headers['user-agent'] ?? '' });
    response.setHeader('content-type', 'text/html');
    response.end(PAGE);
  }).listen(443, address);
  await once(server, 'listening');
  atEnd(() => [server.close(), server.closeAllConnections()]);
  const key = createPublicKey(pair.cert).export({ type: 'spki', format: 'der' });
  return { authority: authority.cert, visits, pin: createHash('sha256').update(key).digest('base64') };
}

function startProxy(address: string): Promise<Squid> {
  const [user = '', password = ''] = PROXY_PASSWORD.split(':');
  return startSquid({
    hosts: { 'relay.example.org': SERVER },
    schemes: ['basic'],
    users: { [user]: password },
    lines: [`http_port ${address}:3128`],
  });
}

/** The first browser that wstun finds: it has no screen, and trusts the key of the web site. */
async function makeDesktop(pin: string): Promise<string> {
  const folder = join(await tempDir(), 'desktop');
  await mkdir(folder);
  const program = join(folder, 'google-chrome-stable');
  const args = `--headless=new --disable-gpu --ignore-certificate-errors-spki-list=${pin}`;
  await writeFile(program, `#!/bin/sh\nexec /usr/bin/chromium ${args} "$@"\n`);
  await chmod(program, 0o755);
  return folder;
}
