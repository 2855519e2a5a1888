/**
 * `wstun client --links`: several connections carry what programs send, and the loss of one is nothing that a program
 * or a person notices. Real programs; a middlebox resets the connections one by one.
 */
import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Middlebox } from '../support/net/middlebox.ts';
import { payload, sha256 } from '../support/payload.ts';
import { makeCertificate } from '../support/programs/certificate.ts';
import { runWell } from '../support/programs/programs.ts';
import type { WstunProcess } from '../support/programs/wstun-process.ts';
import { wstun } from '../support/programs/wstun-process.ts';
import { invite, startClient, startExit, startRelay } from '../support/programs/wstun-stack.ts';
import { atEnd } from '../support/scope.ts';
import { tempDir } from '../support/temp-dir.ts';
import { shareBrowser } from '../support/tether/phone.ts';
import { startTethered } from '../support/tether/tethered.ts';
import { until } from '../support/until.ts';

shareBrowser();

/** By a program, each way. */
const BYTES = 3_000_000;
/** What the server sends or reads at once, and how often, ms: the transfers are to outlast some resets. */
const PIECE_BYTES = 30_000;
const PIECE_MS = 20;
const TRANSFERS = 4;
const LIMIT_MS = 240_000;

/** Sends `payload(BYTES, n)` for `GET /n`, and answers an upload with its hash. */
async function startWeb(): Promise<string> {
  const server = createServer((request, response) => {
    if (request.method === 'GET') return void sendSlowly(payload(BYTES, Number(request.url?.slice(1))), response);
    const hash = createHash('sha256');
    request.on('data', (bytes: Buffer) => {
      hash.update(bytes);
      request.pause();
      setTimeout(() => request.resume(), (bytes.length * PIECE_MS) / PIECE_BYTES);
    });
    request.once('end', () => response.end(hash.digest('hex')));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  atEnd(() => void server.close().closeAllConnections());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function sendSlowly(bytes: Buffer, response: ServerResponse): void {
  let at = 0;
  const timer = setInterval(() => {
    if (at >= bytes.length) return void response.end();
    response.write(bytes.subarray(at, at + PIECE_BYTES));
    at += PIECE_BYTES;
  }, PIECE_MS);
  response.once('close', () => clearInterval(timer));
}

/** Downloads and uploads of curl through a client's proxy, all at once. Each must end well, with all its bytes. */
async function transferAll(port: number): Promise<void> {
  const [web, dir] = [await startWeb(), await tempDir()];
  const curl = ['-qsS', '--fail', '-x', `socks5h://127.0.0.1:${port}`];
  const transfers = Array.from({ length: TRANSFERS }, async (_, n) => {
    const [file, hash] = [join(dir, `${n}`), sha256(payload(BYTES, n))];
    await writeFile(file, payload(BYTES, n));
    const download = runWell('sh', ['-c', `curl ${curl.join(' ')} ${web}/${n} | sha256sum`], { limitMs: LIMIT_MS / 2 });
    const upload = runWell('curl', [...curl, '-T', file, `${web}/`], { limitMs: LIMIT_MS / 2 });
    expect((await download).slice(0, 64)).toBe(hash);
    expect(await upload).toBe(hash);
  });
  await Promise.all(transfers);
}

/** While one link lives, a client has nothing to say. */
async function expectUnnoticed(client: WstunProcess, port: number, box: Middlebox, links: number): Promise<void> {
  const resets = await box.resetOneByOne(transferAll(port));
  // All but the last at least: one that takes the place of another may wait for some seconds.
  expect(resets).toBeGreaterThanOrEqual(links - 1);
  const told = ['lost', 'resumed', 'stalled', 'session-lost', 'retrying'];
  const since = client.events.findIndex(({ event }) => event === 'ready');
  expect(client.events.slice(since).filter(({ event }) => told.includes(event))).toEqual([]);
  expect(client.stderr).not.toContain('link lost');
}

describe('links that are reset one by one, through a relay', () => {
  it('downloads and uploads over 4 links go on while links are reset one by one, and the client reports no loss', {
    timeout: LIMIT_MS,
  }, async () => {
    const relay = await startRelay();
    const box = await Middlebox.start(relay.port);
    const url = `ws://127.0.0.1:${box.port}`;
    const secret = await invite(relay, 'several', { allow: ['*'], url });
    const client = await startClient(secret, { args: ['--links', '4'] });
    await expectUnnoticed(client.process, client.port, box, 4);
  });

  it('the same without encryption of wstun, within TLS', { timeout: LIMIT_MS }, async () => {
    const { cert, key } = makeCertificate();
    const dir = await tempDir();
    const [certFile, keyFile] = [join(dir, 'cert.pem'), join(dir, 'key.pem')];
    await writeFile(certFile, cert);
    await writeFile(keyFile, key);
    const relay = await startRelay({ args: ['--tls-cert', certFile, '--tls-key', keyFile] });
    const box = await Middlebox.start(relay.port);
    const secret = await invite(relay, 'several', { allow: ['*'], url: `wss://127.0.0.1:${box.port}` });
    const client = await startClient(secret, {
      args: ['--links', '4', '--encryption', 'off'],
      env: { NODE_EXTRA_CA_CERTS: certFile },
    });
    await expectUnnoticed(client.process, client.port, box, 4);
  });
});

describe('links that are reset one by one, through a named exit', () => {
  it('downloads and uploads over 4 links to a named exit go on while their second half is reset one by one', {
    timeout: LIMIT_MS,
  }, async () => {
    const relay = await startRelay({ args: ['--no-exit'] });
    const box = await Middlebox.start(relay.port);
    const registration = await invite(relay, 'home', { role: 'exit', url: `ws://127.0.0.1:${box.port}` });
    const exit = await startExit({ invite: registration });
    const secret = await invite(exit, 'several', { allow: ['*'], url: relay.url });
    const client = await startClient(secret, { args: ['--links', '4'] });
    await expectUnnoticed(client.process, client.port, box, 4);
  });
});

describe('a relay with few links', () => {
  it('further links of two clients at a named exit leave room for a third client', { timeout: LIMIT_MS }, async () => {
    const state = await tempDir();
    await writeFile(join(state, 'limits.toml'), 'links = 24\n');
    const relay = await startRelay({ state, args: ['--no-exit'] });
    const exit = await startExit({ invite: await invite(relay, 'home', { role: 'exit' }) });
    const splices = () => relay.process.stderr.split('a client was connected to its exit').length - 1;
    for (const [name, links] of [
      ['one', 5],
      ['two', 1],
    ] as const) {
      const secret = await invite(exit, name, { allow: ['*'], url: relay.url });
      const before = splices();
      await startClient(secret, { args: ['--links', '5'] });
      await until(() => splices() >= before + links);
    }
    await until(() => relay.process.stderr.includes('its exit already uses its share of the links'));
    const third = await startClient(await invite(exit, 'three', { allow: ['*'], url: relay.url }));
    const download = ['-qsS', '--fail', '-x', `socks5h://127.0.0.1:${third.port}`, `${await startWeb()}/1`];
    expect(await runWell('sh', ['-c', `curl ${download.join(' ')} | sha256sum`])).toContain(sha256(payload(BYTES, 1)));
    expect(third.process.stderr).not.toContain('WSTUN-E216');
  });
});

describe('links that are reset one by one, through a phone', () => {
  it("downloads and uploads over 3 links by a phone's page go on while links are reset one by one", {
    timeout: LIMIT_MS,
  }, async () => {
    const boxes: Middlebox[] = [];
    const { client, port } = await startTethered({
      args: ['--links', '3'],
      relayUrl: async (relay) => {
        const box = await Middlebox.start(relay.port);
        boxes.push(box);
        return `ws://127.0.0.1:${box.port}`;
      },
    });
    const [box] = boxes;
    if (box === undefined) throw new Error('no middlebox');
    await expectUnnoticed(client, port, box, 3);
  });
});

describe('options about links', () => {
  it.each([
    ['--links', '9'],
    ['--links', '0'],
    ['--links', 'x'],
    ['--link-max-bytes', '1'],
    ['--link-max-bytes', '16XB'],
    ['--link-max-age', '1'],
    ['--link-max-age', 'x'],
  ])('`wstun client %s %s` is rejected with the option that is wrong', async (option, value) => {
    const { code, stdout, stderr } = await wstun(['client', option, value]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toContain('WSTUN-E101');
    expect(stderr).toContain(option);
  });

  it('`wstun client --help` has the options about links', async () => {
    const { code, stdout } = await wstun(['client', '--help']);
    expect(code).toBe(0);
    for (const option of ['--links', '--link-max-bytes', '--link-max-age']) expect(stdout).toContain(option);
  });
});
