/**
 * Situations in which a newcomer once met a sentence that was wrong, useless or missing, and what wstun says now. Those
 * that another test proves word for word:
 *
 * | situation | test |
 * | --- | --- |
 * | the relay is down: one line, counted, with the next attempt and what Enter does | terminal.test.ts: "the last line shows traffic, …" |
 * | the network is gone: what waits, and for how long | terminal.test.ts, the same; outage-report.test.ts without a terminal |
 * | only a proxy leads out | proxies.test.ts: "reaches the relay by the proxy of https_proxy, …" |
 * | an unknown authority, another name, an expired certificate | relay-front.test.ts "a relay with TLS …"; reach.test.ts "a client says what is wrong with a certificate: …" |
 * | a filter says 403, a portal says 302 | in-front.test.ts: "a front that rejects all requests …" |
 * | an invite for the other role | command-line.test.ts: "client and exit reject the invite of the other role …" |
 * | an invite in two pieces; the whole printed line in a file | command-line.test.ts: "a client understands …" |
 * | no invite at an exit | state-found.test.ts: "a command that fails or only reads makes no state directory" |
 * | `access add` at the machine of an exit | state-found.test.ts: "`wstun access` without --state finds the exit …" |
 * | a name is taken | access.test.ts: "the errors about a closed target and a taken name …" |
 * | a port is taken | first-minute.test.ts: "the error about a port in use names the option …" |
 * | a removed invite, rotated keys: once | access.test.ts, rotation.test.ts |
 * | an invite that is cut off or mistyped; an address that is open to others | first-minute.test.ts |
 * | a clock that is wrong; a name that does not exist, or of which no server tells | doctor.test.ts, networks/paths.test.ts |
 * | a used code while a phone is on | tether.test.ts: "the page says that it was opened without a code, …" |
 * @module-tag waits
 */
import { spawnSync } from 'node:child_process';
import { mkdir, utimes, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { blackHole } from '../support/net/black-hole.ts';
import { addNamespace, wire, within } from '../support/net/namespaces.ts';
import { echo, tcpServer } from '../support/net/tcp.ts';
import { setFile } from '../support/networks/paths.ts';
import { makeAuthority } from '../support/programs/authority.ts';
import { freePort, run } from '../support/programs/programs.ts';
import { linesWith, WstunProcess, wstun } from '../support/programs/wstun-process.ts';
import { invite, startClient, startExit, startRelay } from '../support/programs/wstun-stack.ts';
import { connectThrough, endOf } from '../support/proxy/through-proxy.ts';
import { tempDir } from '../support/temp-dir.ts';
import { until } from '../support/until.ts';

/** On a busy machine. */
const SAID_LIMIT_MS = 30_000;

function textClient(secret: string, args: readonly string[] = []): WstunProcess {
  return new WstunProcess(['client', '--listen', '127.0.0.1:0', ...args], { env: { WSTUN_INVITE: secret } });
}

async function untilSaid(process: WstunProcess, text: RegExp): Promise<void> {
  await until(() => text.test(process.stderr) || !process.isRunning, SAID_LIMIT_MS).catch(() => {});
  if (!text.test(process.stderr)) throw new Error(`${text} was not said by ${process.describe()}`);
}

describe('a relay that does not answer', () => {
  it('packets are dropped: the client says at once where it connects, then how far it came, and each reason once', async () => {
    const relay = await startRelay();
    const place = `127.0.0.1:${await blackHole()}`;
    const client = textClient(await invite(relay, 'alice', { url: `ws://${place}` }));
    await untilSaid(client, /WSTUN-E201.*Next attempt in/);
    await untilSaid(client, /not connected for 1\d\.\d s/);
    const said = client.stderr.split('\n').map((line) => line.replace(/^\S+Z (?:wstun: )?/, ''));
    expect(said[0]).toBe(`connecting to ${place} …`);
    expect(said[1]).toMatch(new RegExp(`^no link to ${place} after \\d\\.\\d s: .*there is no TCP connection yet`));
    expect(linesWith(client, 'Next attempt in')).toHaveLength(1);
  });

  it('the laptop is offline: a program that asks is told that there is no link, not that its target did not answer', {
    timeout: 90_000,
  }, async () => {
    const relay = await startRelay();
    const client = await startClient(await invite(relay, 'alice', { allow: ['127.0.0.1'] }));
    const target = await tcpServer(echo);
    const ask = () => run('curl', ['-sS', '-x', `http://127.0.0.1:${client.port}`, `http://127.0.0.1:${target}/`]);
    // Frozen, so that nothing tells the client; then gone.
    relay.process.signal('SIGSTOP');
    expect((await ask()).stdout).toContain('WSTUN-E209');
    await relay.process.kill();
    expect((await ask()).stdout).toContain('WSTUN-E209');
  });
});

describe('a session that is lost', () => {
  it('a clean restart of the relay is over: the client says how long it was away, and what was lost', async () => {
    const relay = await startRelay();
    const port = await freePort();
    const secret = await invite(relay, 'alice', { allow: ['127.0.0.1'] });
    const client = textClient(secret, ['--listen', `127.0.0.1:${port}`]);
    await untilSaid(client, /Press Ctrl-C to stop/);
    const socket = await connectThrough('SOCKS5', port, await tcpServer(echo));
    const end = endOf(socket);
    relay.process.signal('SIGTERM');
    await relay.process.event('closing');
    relay.process.signal('SIGTERM');
    await relay.process.exited;
    await startRelay({ state: relay.state, port: relay.port });
    await untilSaid(client, /reconnected after/);
    expect(await end).toBe('reset');
    const [, away, streams] = /reconnected after (\S+) s; (\d) streams? lost/.exec(client.stderr) ?? [];
    expect(Number(away)).toBeGreaterThan(0);
    expect(streams).toBe('1');
    expect(client.stderr).not.toMatch(/Next attempt in 0\.0 s/);
  });
});

describe('an invite or a URL that is missing', () => {
  it('no invite was given to an exit: the sentence has the command that creates one for an exit', async () => {
    const { code, stderr } = await wstun(['exit', '--state', join(await tempDir(), 'new')]);
    expect([code, stderr]).toEqual([2, expect.stringMatching(/wstun access add NAME --role exit\. \(WSTUN-E108\)\n$/)]);
  });

  it('no URL is known where `access add` looks, and this machine has an exit: the sentence names its directory', async () => {
    const home = await tempDir();
    const relay = await startRelay();
    const exit = join(home, 'wstun/exit');
    await startExit({ state: exit, invite: await invite(relay, 'home', { role: 'exit' }) });
    const { code, stderr } = await wstun(['access', 'add', 'bob', '--state', join(home, 'wstun/relay')], {
      env: { XDG_STATE_HOME: home },
    });
    expect([code, stderr]).toEqual([
      2,
      expect.stringContaining(`This machine has an exit: --state ${exit}. (WSTUN-E110)`),
    ]);
  });
});

describe('a relay whose URL leads elsewhere', () => {
  it('its certificate is for another name: the relay says so at its start, and what comes without TLS may be meant for it', async () => {
    const dir = await tempDir();
    const { cert, key } = makeAuthority('/CN=Example Root').issue('DNS:other.example.net');
    const [certFile, keyFile] = [join(dir, 'cert.pem'), join(dir, 'key.pem')];
    await writeFile(certFile, cert);
    await writeFile(keyFile, key);
    const tls = ['--tls-cert', certFile, '--tls-key', keyFile, '--url', 'wss://relay.example.org'];
    const relay = await startRelay({ args: tls });
    await untilSaid(
      relay.process,
      /the certificate is for other\.example\.net, and not for relay\.example\.org: clients reject it/,
    );
    const client = textClient(await invite(relay, 'alice', { url: `ws://127.0.0.1:${relay.port}` }));
    await untilSaid(client, /If it expects TLS, its URL must begin with wss:\/\//);
  });

  it('it has no TLS, or another port: the relay says that something in front must pass connections on', async () => {
    const state = await tempDir();
    const start = async (url: string) => {
      const relay = new WstunProcess(['relay', '--listen', '127.0.0.1:0', '--state', state, '--url', url]);
      await untilSaid(relay, /Create more invites/);
      await relay.kill();
      return relay.stderr;
    };
    const front = 'a reverse proxy or a router must pass on what comes there.';
    expect(await start('wss://relay.example.org')).toContain(
      `Clients connect to relay.example.org:443 with TLS, which this relay does not have: ${front}`,
    );
    expect(await start('ws://relay.example.org')).toContain(`Clients connect to relay.example.org:80: ${front}`);
  });
});

describe('through a phone', () => {
  it('the phone cannot reach a relay that is down: the sentence does not blame mobile data alone', async () => {
    const { stdout } = await wstun(['explain', 'E217']);
    expect(stdout.replace(/\s+/g, ' ')).toContain('Switch on its mobile data. If it is on, the relay may be down');
  });
});

describe('what takes long is said meanwhile', () => {
  it('a control socket whose process is stopped: `wstun status` and `wstun ping` say whose answer they wait for', async () => {
    const env = { XDG_STATE_HOME: await tempDir() };
    const relay = await startRelay();
    const client = await startClient(await invite(relay, 'alice'), { env });
    await until(() => spawnSync('find', [env.XDG_STATE_HOME, '-name', 'client-*.sock']).stdout.length > 0);
    client.process.signal('SIGSTOP');
    for (const command of ['status', 'ping']) {
      const { code, stderr } = await wstun([command], { env });
      expect([command, code]).toEqual([command, 69]);
      expect(stderr.split('\n')).toEqual([
        expect.stringContaining(`wstun: waiting for the client with process id ${client.process.pid} to answer`),
        expect.stringMatching(/did not answer within 5 s\. .*\(WSTUN-E171\)$/),
        '',
      ]);
    }
    client.process.signal('SIGCONT');
  });

  it('a lock that another process holds: `wstun access` says whose it is, and goes on when it is free', async () => {
    const relay = await startRelay();
    const lock = join(relay.state, '.lock');
    await writeFile(lock, `${process.pid} ${hostname()} token`);
    const adding = new WstunProcess(['access', 'add', 'bob', '--state', relay.state]);
    await untilSaid(adding, new RegExp(`^wstun: waiting for process ${process.pid}, which holds ${lock} …$`, 'm'));
    spawnSync('rm', [lock]);
    expect(await adding.exited).toBe(0);
    expect(adding.stdout).toMatch(/^wstun1_/);
  });

  it('an invite from a pipe that nobody writes to: the client says what it waits for, and goes on with what comes', async () => {
    const relay = await startRelay();
    const secret = await invite(relay, 'alice');
    const pipe = join(await tempDir(), 'pipe');
    spawnSync('mkfifo', [pipe]);
    const client = new WstunProcess(['client', '--listen', '127.0.0.1:0', '--invite-file', pipe, '--no-keep']);
    await untilSaid(client, new RegExp(`waiting for an invite from ${pipe} …`));
    await writeFile(pipe, secret);
    await untilSaid(client, /Press Ctrl-C to stop/);
  });

  it('a relay that does not answer: `wstun run` says that it waits for a link', async () => {
    const relay = await startRelay();
    const place = `127.0.0.1:${await blackHole()}`;
    const secret = await invite(relay, 'alice', { url: `ws://${place}` });
    const env = { XDG_STATE_HOME: await tempDir(), WSTUN_INVITE: secret };
    const program = new WstunProcess(['run', '--', 'true'], { env });
    await untilSaid(program, new RegExp(`^wstun: waiting for a link to ${place} …$`, 'm'));
    await untilSaid(program, /WSTUN-E201\) Trying again\.$/m);
  });

  it('a client that is stopped: `wstun env` says that it waits for an answer', async () => {
    const env = { XDG_STATE_HOME: await tempDir() };
    const relay = await startRelay();
    const client = await startClient(await invite(relay, 'alice'), { env });
    client.process.signal('SIGSTOP');
    const { code, stderr } = await wstun(['env', '--listen', `127.0.0.1:${client.port}`], { env });
    expect([code, stderr]).toEqual([
      69,
      expect.stringMatching(/^wstun: waiting for a running client to answer.*\nwstun: .*E182\)\n$/),
    ]);
    client.process.signal('SIGCONT');
  });

  it('Ctrl-C ends a client within seconds whose invite another process keeps it from keeping', async () => {
    const env = { XDG_STATE_HOME: await tempDir() };
    const relay = await startRelay();
    const folder = join(env.XDG_STATE_HOME, 'wstun/client/invites');
    for (const path of [join(env.XDG_STATE_HOME, 'wstun'), join(folder, '..'), folder])
      await mkdir(path, { mode: 0o700 });
    const lock = join(folder, '.lock');
    await writeFile(lock, `${process.pid} ${hostname()} token`);
    const client = new WstunProcess(['client', '--listen', '127.0.0.1:0', relay.invite ?? ''], { env });
    await untilSaid(client, new RegExp(`waiting for process ${process.pid}, which holds ${lock} …$`, 'm'));
    // As a process that is at work does; a lock that is 15 s old counts as left.
    const working = setInterval(() => void utimes(lock, new Date(), new Date()), 1_000);
    client.signal('SIGINT');
    expect(await client.exited).toBeOneOf([0, 'SIGINT']);
    clearInterval(working);
  });

  it('Ctrl-C ends a client within seconds whose system looks for a name that no server tells', async () => {
    const name = `dns${process.pid}`;
    await addNamespace(name);
    await wire({ namespace: name, name: `${name}a`, address: '192.0.2.1' }, { name: `${name}b`, address: '192.0.2.2' });
    // Nobody has that address.
    await setFile(name, 'resolv.conf', 'nameserver 192.0.2.53\n');
    const secret = await invite(await startRelay(), 'alice', { url: 'ws://relay.example.org' });
    const client = new WstunProcess(['client', '--listen', '127.0.0.1:0'], {
      ...{ env: { WSTUN_INVITE: secret }, within: within(name) },
    });
    await untilSaid(client, /connecting to relay\.example\.org/);
    const since = performance.now();
    client.signal('SIGINT');
    expect(await client.exited).toBeOneOf([0, 'SIGINT']);
    expect(performance.now() - since).toBeLessThan(5_000);
  });

  it('a target that does not answer: `wstun ping` says that it waits for it', async () => {
    const env = { XDG_STATE_HOME: await tempDir() };
    const relay = await startRelay();
    const client = await startClient(await invite(relay, 'alice', { allow: ['127.0.0.1'] }), { env });
    const target = `127.0.0.1:${await blackHole()}`;
    await until(() => spawnSync('find', [env.XDG_STATE_HOME, '-name', 'client-*.sock']).stdout.length > 0);
    const ping = new WstunProcess(['ping', target, '--count', '1'], { env });
    await untilSaid(ping, new RegExp(`^wstun: waiting for an answer from ${target} …$`, 'm'));
    expect(client.process.isRunning).toBe(true);
  });

  it('a file with a proxy’s password that is a pipe: the client says that it is no file', async () => {
    const relay = await startRelay();
    const pipe = join(await tempDir(), 'pipe');
    spawnSync('mkfifo', ['-m', '600', pipe]);
    const proxy = ['--proxy', `http://127.0.0.1:${await freePort()}`, '--proxy-auth-file', pipe];
    const { code, stderr } = await wstun(['client', '--listen', '127.0.0.1:0', '--once', ...proxy], {
      env: { WSTUN_INVITE: relay.invite ?? '' },
    });
    expect([code, stderr]).toEqual([78, expect.stringMatching(/it is not a file.*WSTUN-E260/)]);
  });
});
