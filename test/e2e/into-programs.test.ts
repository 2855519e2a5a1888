/**
 * @module-tag waits
 *
 * Programs and browsers that are brought into the tunnel, on a laptop whose every other packet is counted: none may
 * leave, and no name server may be asked.
 */
import { once } from 'node:events';
import { readdir, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { startDnsServer } from '../support/net/dns-server.ts';
import { startWatchedLaptop, type WatchedLaptop } from '../support/net/watched-laptop.ts';
import { type GitServer, startGitServer } from '../support/programs/git-server.ts';
import { freePort, type Outcome, run, spawnBound } from '../support/programs/programs.ts';
import { WstunProcess, wstun } from '../support/programs/wstun-process.ts';
import { commonEnv, wstunPath } from '../support/programs/wstun-program.ts';
import { invite, startRelay } from '../support/programs/wstun-stack.ts';
import { atEnd } from '../support/scope.ts';
import { tempDir } from '../support/temp-dir.ts';
import { spawnChromium } from '../support/tether/phone.ts';
import { until } from '../support/until.ts';
import { isThere, NEWEST_LINE, nodeProgram } from '../support/vitest/other-nodes.ts';

/** Only the exit's name server knows it. */
const HOST = 'inside.example';
const PASSWORD = "it's s3cret";
const START_LIMIT_MS = 30_000;

let laptop: WatchedLaptop;
let secret = '';
let web = 0;
let git: GitServer;
let site: Server;
/** What pages have reported, by the path of the page. */
const reports = new Map<string, string>();

/** Asks for all that could leave past the tunnel, and reports when that is over. */
const PAGE = `<!doctype html><title>inside</title>
<link rel="dns-prefetch" href="//prefetched.example"><link rel="preconnect" href="https://preconnected.example">
<img src="http://pictures.example/x.png"><img src="http://9.9.9.9/x.png"><img src="http://printer.local/x.png">
<script>
const found = [];
const report = () => navigator.sendBeacon('/report?' + location.pathname, JSON.stringify(found));
const HOST = ' typ host';
const REMOTE = [
  'candidate:1 1 udp 2113937151 0b8d3f6e-5c1e-4c7a-9d0f-2a1b3c4d5e6f.local 50000' + HOST,
  'candidate:2 1 udp 2113937151 9.9.9.9 50000' + HOST,
  'candidate:3 1 tcp 1518214911 9.9.9.9 443' + HOST + ' tcptype passive',
];
const connect = async () => {
  const urls = ['stun:stun.example:3478', 'stun:9.9.9.9:3478', 'turn:9.9.9.9:3478'];
  const iceServers = [{ urls, username: 'me', credential: 'x' }];
  const [peer, other] = [new RTCPeerConnection({ iceServers }), new RTCPeerConnection({ iceServers })];
  for (const each of [peer, other])
    each.onicecandidate = ({ candidate }) => candidate && found.push(candidate.candidate);
  peer.createDataChannel('x');
  await peer.setLocalDescription();
  await other.setRemoteDescription(peer.localDescription);
  await other.setLocalDescription();
  await peer.setRemoteDescription(other.localDescription);
  for (const candidate of REMOTE)
    await peer.addIceCandidate({ candidate, sdpMid: '0' }).catch((error) => found.push(String(error)));
};
connect().catch((error) => found.push(String(error)));
setTimeout(report, 4000);
</script>`;

beforeAll(async () => {
  laptop = await startWatchedLaptop();
  const dns = await startDnsServer({ [HOST]: { addresses: ['127.0.0.1'] } });
  atEnd(() => dns.close());
  site = createServer(async (request, response) => {
    const [path = '', query = ''] = (request.url ?? '').split('?');
    if (path === '/report') {
      const pieces: Buffer[] = [];
      for await (const piece of request) pieces.push(piece);
      reports.set(query, Buffer.concat(pieces).toString());
    }
    response.setHeader('content-type', 'text/html');
    response.end(path.startsWith('/page') ? PAGE : `through, ${path}`);
  }).listen(0, '127.0.0.1');
  await once(site, 'listening');
  atEnd(() => [site.close(), site.closeAllConnections()]);
  web = (site.address() as AddressInfo).port;
  git = await startGitServer();
  const port = await freePort();
  const relay = await startRelay({ dns, port, args: ['--listen', `${laptop.relayAddress}:${port}`] });
  await laptop.allow(relay.port);
  secret = await invite(relay, 'laptop', { allow: [HOST], url: `ws://${laptop.relayAddress}:${relay.port}` });
});

/** `wstun run`, with a client of its own, on the laptop. */
const runThere = (args: readonly string[], env: Record<string, string> = {}): Promise<Outcome> =>
  wstun(['run', ...args], {
    within: laptop.there,
    env: { ...commonEnv, WSTUN_INVITE: secret, ...env },
    limitMs: 40_000,
  });

async function clientThere(...args: string[]): Promise<WstunProcess> {
  const env = { WSTUN_INVITE: secret };
  const client = new WstunProcess(['client', '--json', ...args], { env, within: laptop.there });
  await client.event('ready');
  return client;
}

describe('wstun run', () => {
  it('curl, git, Python and a newer Node go through a client that is started for them, and no packet past it', async () => {
    await laptop.strays();
    const page = `http://${HOST}:${web}`;
    const newer = isThere(NEWEST_LINE)
      ? [`${nodeProgram(NEWEST_LINE)} -e 'fetch("${page}/node").then((r) => r.text()).then(console.log)'`]
      : [];
    const script = [
      `curl -sS ${page}/curl; echo`,
      `git ls-remote http://${HOST}:${git.port}/repo.git HEAD`,
      `python3 -c 'import urllib.request as u; print(u.urlopen("${page}/python").read().decode())'`,
      ...newer,
      'curl -sS http://wstun.internal/ | grep -o "You are through"',
    ];
    const { code, stdout, stderr } = await runThere(['--', 'sh', '-ec', script.join('\n')]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    for (const part of ['through, /curl', '\tHEAD', 'through, /python', 'You are through'])
      expect(stdout).toContain(part);
    if (newer.length > 0) expect(stdout).toContain('through, /node');
    expect(await laptop.strays()).toBe(0);
    // A program that ignores its environment is counted.
    expect(await runThere(['--', 'getent', 'hosts', HOST])).toMatchObject({ code: 2, stdout: '' });
    expect(await laptop.strays()).toBeGreaterThan(0);
  });

  it('the program has its input, output and exit code to itself', async () => {
    const env = { ...commonEnv, WSTUN_INVITE: secret };
    const { code, stdout, stderr } = await wstun(['run', '--', 'sh', '-c', 'cat; echo err >&2; exit 7'], {
      ...{ env, within: laptop.there, input: 'some input', limitMs: 40_000 },
    });
    expect({ code, stdout, stderr }).toEqual({ code: 7, stdout: 'some input', stderr: 'err\n' });
    expect(await runThere(['--', 'sh', '-c', 'kill -KILL $$'])).toMatchObject({ code: 137, stdout: '', stderr: '' });
    expect(await runThere(['curl', '--version'])).toMatchObject({ code: 0, stdout: expect.stringMatching(/^curl /) });
    const missing = await runThere(['--', 'no-such-program']);
    expect(missing).toMatchObject({ code: 127, stdout: '', stderr: expect.stringContaining('WSTUN-E184') });
    const file = join(await tempDir(), 'file');
    await writeFile(file, 'x', { mode: 0o600 });
    expect(await runThere(['--', file])).toMatchObject({ code: 126, stderr: expect.stringContaining('WSTUN-E185') });
  });

  it('the program gets signals that wstun gets, and neither the invite nor the password is in its environment', async () => {
    const process = new WstunProcess(['run', '--', 'sh', '-c', 'trap "exit 5" TERM; env; echo ready; read line'], {
      ...{ env: { WSTUN_INVITE: secret, WSTUN_USER: `me:${PASSWORD}` }, within: laptop.there },
    });
    await until(() => process.stdout.includes('ready'), START_LIMIT_MS);
    expect(process.stdout).not.toMatch(/wstun1_|s3cret|WSTUN_(?!ENV)/);
    process.signal('SIGTERM');
    expect(await process.exited).toBe(5);
  });

  it('in a terminal, Ctrl-C reaches the program once', async () => {
    const wait = 'n=0; while [ $i = 0 ] && [ $n -lt 200 ]; do sleep 0.1; n=$((n+1)); done; sleep 1';
    const script = `i=0; trap 'i=$((i+1))' INT; test -t 0 && test -t 1 && echo ready; ${wait}; echo count=$i`;
    const line = `${process.execPath} ${wstunPath} run -- sh -c "$SCRIPT"`;
    const env = { ...commonEnv, WSTUN_INVITE: secret, SCRIPT: script };
    const terminal = spawnBound('script', ['-qefc', line, '/dev/null'], { env, within: laptop.there });
    let shown = '';
    terminal.stdout?.on('data', (text) => {
      shown += text;
    });
    await until(() => shown.includes('ready'), START_LIMIT_MS);
    terminal.stdin?.write('\x03');
    await until(() => shown.includes('count='), START_LIMIT_MS);
    expect(shown).toContain('count=1');
  });

  it('without a connection it says why, on stderr only, and does not start the program', async () => {
    const process = new WstunProcess(['run', '--', 'echo', 'started'], {
      env: { WSTUN_INVITE: secret },
      within: [...laptop.there, 'unshare', '--net'],
    });
    await until(() => process.stderr.includes('WSTUN-E201'), START_LIMIT_MS);
    process.signal('SIGINT');
    expect(await process.exited).toBe(130);
    expect(process.stdout).toBe('');
  });
});

describe('with a client that runs', () => {
  it('`wstun env` brings what bash, zsh and fish start into the tunnel, and out of it again', async () => {
    const client = await clientThere('--user', `me:${PASSWORD}`);
    await laptop.strays();
    const env = { ...commonEnv, WSTUN_USER: `me:${PASSWORD}` };
    const command = `'${process.execPath}' '${wstunPath}' env`;
    const fetch = `curl -sS http://${HOST}:${web}/shell`;
    const lines = [`eval "$(${command})"`, fetch, `eval "$(${command} --unset)"`, 'env'].join('; ');
    const fish = [`${command} --shell fish | source`, fetch, `${command} --shell fish --unset | source`, 'env'].join(
      '; ',
    );
    for (const [shell, script] of [
      ['bash', lines],
      ['zsh', lines],
      ['fish', fish],
    ] as const) {
      const { code, stdout, stderr } = await run(shell, ['-c', script], { env, within: laptop.there, limitMs: 30_000 });
      expect({ shell, code, stderr }).toEqual({ shell, code: 0, stderr: '' });
      expect(stdout).toContain('through, /shell');
      expect(stdout).not.toMatch(/_PROXY=|_proxy=/);
    }
    expect(await laptop.strays()).toBe(0);
    const without = await wstun(['env'], { env: commonEnv, within: laptop.there });
    expect(without).toMatchObject({ code: 2, stdout: '', stderr: expect.stringContaining('WSTUN-E183') });
    const wrong = await wstun(['env', '--user', 'me:wrong'], { env: commonEnv, within: laptop.there });
    expect(wrong).toMatchObject({
      code: 2,
      stdout: '',
      stderr: expect.stringContaining('does not accept those given'),
    });
    await client.kill();
    const later = await wstun(['env'], { env: commonEnv, within: laptop.there });
    expect(later).toMatchObject({
      code: 0,
      stderr: expect.stringContaining('no client listens at 127.0.0.1:1080 now'),
    });
    expect(later.stdout).toContain('export ALL_PROXY=socks5h://127.0.0.1:1080\n');
  });

  it('Chromium with the PAC file loads a page of which nothing leaves past the tunnel, and none without the client', async () => {
    const client = await clientThere();
    const { there: within } = laptop;
    await laptop.strays();
    const pac = [
      '--proxy-pac-url=http://127.0.0.1:1080/proxy.pac',
      '--disable-features=MediaRouter,DialMediaRouteProvider',
    ];
    let asked = 0;
    const count = () => asked++;
    site.on('request', count);
    atEnd(() => site.off('request', count));
    await spawnChromium([...pac, `http://${HOST}:${web}/pac`], { within });
    await until(() => asked > 0, START_LIMIT_MS);
    expect(await laptop.strays()).toBe(0);
    await client.kill();
    const dump = [
      '--headless=new',
      '--no-sandbox',
      '--disable-gpu',
      '--dump-dom',
      `--user-data-dir=${await tempDir()}`,
    ];
    const { stdout } = await run('chromium', [...dump, ...pac, `http://${HOST}:${web}/`], { within, limitMs: 40_000 });
    expect(stdout).not.toContain('through,');
  });
});

describe('wstun browser', () => {
  /** Until the page has reported, and the browser has ended. What the page found of its network. */
  async function visit(browser: string, page: string, args: readonly string[]): Promise<string> {
    const temp = await tempDir();
    const more = args.map((arg) => `--browser-arg=${arg}`);
    const process = new WstunProcess(['browser', '--browser', browser, ...more, `http://${HOST}:${web}/${page}`], {
      env: { WSTUN_INVITE: secret, TMPDIR: temp, HOME: temp },
      within: laptop.there,
    });
    await until(() => {
      if (!process.isRunning) throw new Error(process.stderr);
      return reports.has(`/${page}`);
    }, 180_000);
    expect(process.stderr).toContain('everything in it goes through 127.0.0.1:');
    expect(process.stderr.includes('without its sandbox')).toBe(browser === 'chromium');
    process.signal('SIGINT');
    expect(await process.exited).toBe(0);
    expect(process.stdout).toBe('');
    expect((await readdir(temp)).filter((name) => name.startsWith('wstun-browser-'))).toEqual([]);
    return reports.get(`/${page}`) ?? '';
  }

  it.each([
    // Of the same argument twice, Chromium reads one.
    ['chromium', ['--headless=new', '--disable-gpu', '--disable-features=Translate']],
    ['firefox-esr', ['--headless']],
  ] as const)(
    '%s opens a page through a client of its own, and sends no packet past it, whatever the page asks WebRTC for',
    { timeout: 240_000 },
    async (browser, args) => {
      await laptop.strays();
      expect(await visit(browser, `page-${browser}`, args)).not.toMatch(/typ (?:host|srflx)/);
      expect(await laptop.strays()).toBe(0);
    },
  );

  it('a browser that sends something past the tunnel is counted', { timeout: 240_000 }, async () => {
    await laptop.strays();
    const past = ['--headless=new', '--disable-gpu', '--proxy-bypass-list=9.9.9.9', '--host-resolver-rules='];
    await visit('chromium', 'page-past', past);
    expect(await laptop.strays()).toBeGreaterThan(0);
  });
});
