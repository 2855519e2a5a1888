/** Each block of README.md: where a test pastes it, and what proves that it worked. */
import type { Shell } from '../programs/shell-window.ts';

interface Row {
  /** As it stands, without the end of its last line. */
  readonly text: string;
  readonly language?: 'text' | 'caddyfile';
  readonly where: 'a copy of the repository' | 'server and laptop' | 'server' | 'laptop' | 'home' | 'nowhere';
  readonly proof: string;
  /** In which it is run. Default: both. */
  readonly shells?: readonly Shell[];
}

const row = (value: Row): Row => value;

export const TABLE = {
  drawing: row({
    language: 'text',
    text: 'browser ─ SOCKS5 / HTTP ─▶ wstun client ══ WebSocket or HTTP ══▶ wstun relay ─ TCP ─▶ internet',
    where: 'nowhere',
    proof: 'it is a drawing',
    shells: [],
  }),
  install: row({
    text: 'npm ci && npm pack && npm install --global ./wstun-0.1.0.tgz',
    where: 'a copy of the repository',
    proof: 'all other blocks run the wstun that it has installed; its cost allows one shell',
    shells: ['bash'],
  }),
  installTarball: row({
    text: 'npm install --global ./wstun-0.1.0.tgz',
    where: 'server and laptop',
    proof: 'a newcomer has nothing else there; its cost allows one shell each',
  }),
  quickstart: row({
    text: 'npm ci && npm run quickstart',
    where: 'a copy of the repository',
    proof: 'the curl line that it prints fetches its page; its cost allows one shell',
    shells: ['zsh'],
  }),
  test: row({
    text: 'npm ci && npm test',
    where: 'nowhere',
    proof: 'it is the run of tests of which this is a part: only that npm has its script is looked at',
    shells: [],
  }),
  selfSigned: row({
    text: 'wstun relay --tls-self-signed --listen 0.0.0.0:443',
    where: 'server',
    proof: 'a laptop comes in by the line that it prints',
  }),
  acme: row({
    text: 'wstun relay --acme relay.example.org',
    where: 'server',
    proof: 'a laptop that trusts the authority comes in by its name',
  }),
  behind: row({
    text: 'wstun relay --listen 127.0.0.1:8080 --url wss://relay.example.org',
    where: 'server',
    proof: 'a laptop comes in by Caddy',
  }),
  caddyfile: row({
    language: 'caddyfile',
    text: 'relay.example.org {\n\treverse_proxy 127.0.0.1:8080\n}',
    where: 'server',
    proof: 'a laptop comes in by Caddy with this file, below an option by which Caddy is its own authority',
    shells: [],
  }),
  client: row({
    text: 'wstun client',
    where: 'laptop',
    proof: 'it asks for the invite, keeps it, and a page comes through it',
  }),
  browser: row({
    text: 'wstun browser https://example.org/',
    where: 'laptop',
    proof: 'the script of that page runs in Chromium, whose requests come from the server',
  }),
  run: row({
    text: 'wstun run -- curl https://example.org/',
    where: 'laptop',
    proof: 'it prints the page, which was asked for from the server',
  }),
  env: row({
    text: 'eval "$(wstun env)"',
    where: 'laptop',
    proof: 'a curl behind it prints the page, which was asked for from the server',
  }),
  ssh: row({
    text: "ssh -o ProxyCommand='nc -X 5 -x 127.0.0.1:1080 %h %p' host.example.org",
    where: 'laptop',
    proof: 'a shell there says that the server has come to it',
  }),
  looks: row({
    text: 'wstun doctor\nwstun status',
    where: 'laptop',
    proof: 'both end with 0, and name the relay',
  }),
  proxy: row({
    text: 'wstun client --proxy http://proxy.corp.example:3128 --proxy-auth-file ~/.wstun-proxy',
    where: 'laptop',
    proof: 'the proxy logs the user and the relay',
  }),
  viaBrowser: row({
    text: 'wstun client --via-browser',
    where: 'laptop',
    proof: 'a page comes through it while the network lets only a browser out',
  }),
  tether: row({
    text: 'wstun client --tether',
    where: 'laptop',
    proof: 'a phone opens the address, and a page comes through it while the laptop reaches no relay',
  }),
  access: row({
    text:
      'wstun access add alice\n' +
      "wstun access add bob --allow 10.0.0.0/8:22,443 --allow '*.corp.example'\n" +
      'wstun access list',
    where: 'server',
    proof: 'the list has both, and all rules of bob',
  }),
  decoy: row({
    text: 'wstun relay --acme www.example.org --decoy /var/www/site',
    where: 'server',
    proof: 'a stranger gets the site, and a laptop a tunnel',
  }),
  exitInvite: row({
    text: 'wstun access add home --role exit',
    where: 'server',
    proof: 'the exit at home registers with the invite',
  }),
  exit: row({
    text: 'wstun exit',
    where: 'home',
    proof: 'a page is asked for from home',
  }),
  exitAccess: row({
    text: 'wstun access add carol --state ~/.local/state/wstun/exit',
    where: 'home',
    proof: 'a laptop comes in by its invite',
  }),
} as const;

export type BlockName = keyof typeof TABLE;
export const ROWS = Object.entries(TABLE) as readonly [BlockName, Row][];

/** The block, as a paste has it. */
export const block = (name: BlockName): string => `${TABLE[name].text}\n`;
