/** A relay without a domain: the certificate that it makes itself, and invites that have the pin of its key. */
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { echo, tcpServer } from '../support/net/tcp.ts';
import { exchange } from '../support/payload.ts';
import { run, runWell } from '../support/programs/programs.ts';
import { invite, type RunningClient, spawnClient, startClient, startRelay } from '../support/programs/wstun-stack.ts';
import { connectThrough } from '../support/proxy/through-proxy.ts';

const SELF_SIGNED = { args: ['--tls-self-signed'] };

async function carries({ port }: RunningClient): Promise<void> {
  const socket = await connectThrough('SOCKS5', port, await tcpServer(echo));
  const { sent, received } = await exchange(socket, 100_000);
  expect(received).toEqual({ bytes: 100_000, hash: sent });
}

it('a relay with --tls-self-signed is reached by its first invite, over TLS and without another setting', async () => {
  const relay = await startRelay(SELF_SIGNED);
  expect(relay.url).toBe(`wss://127.0.0.1:${relay.port}`);
  const pin = (relay.process.events[0]?.pins as string[] | undefined)?.[0];
  const url = `https://127.0.0.1:${relay.port}/`;
  const curl = ['-sk', '-w', '%{http_code}', '-o', '/dev/null', '--pinnedpubkey'];
  expect(await runWell('curl', [...curl, `sha256//${pin?.slice('sha256/'.length)}`, url])).toBe('404');
  expect((await run('curl', [...curl, `sha256//${Buffer.alloc(32).toString('base64')}`, url])).code).toBe(90);
  await startClient(relay.invite ?? '');
  // Without encryption between client and exit, TLS is what protects: with the pin it is as good as the invite.
  await carries(await startClient(await invite(relay, 'alice', { allow: ['*'] }), { args: ['--encryption', 'off'] }));
});

it('invites stay valid when the certificate is made again under the same key, and not under another key', async () => {
  const relay = await startRelay(SELF_SIGNED);
  const secret = await invite(relay, 'alice', { allow: ['*'] });
  const certificate = await readFile(join(relay.state, 'tls-certificate.pem'), 'utf8');
  const again = { ...SELF_SIGNED, state: relay.state, port: relay.port };
  await relay.process.kill();
  await rm(join(relay.state, 'tls-certificate.pem'));
  const second = await startRelay(again);
  expect(await readFile(join(relay.state, 'tls-certificate.pem'), 'utf8')).not.toBe(certificate);
  await carries(await startClient(secret));
  await second.process.kill();
  await rm(join(relay.state, 'tls-key.pem'));
  const third = await startRelay(again);
  const { code } = await spawnClient(secret).event('retrying');
  expect(code).toBe('WSTUN-E203');
  await carries(await startClient(await invite(third, 'bob', { allow: ['*'] })));
});
