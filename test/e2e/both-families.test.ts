/** A relay that listens on IPv4 and IPv6: the sockets of the machine, and what programs get there. */
import { expect, it } from 'vitest';
import { addNamespace, within } from '../support/net/namespaces.ts';
import { freePort, run, runWell } from '../support/programs/programs.ts';
import { WstunProcess, wstun } from '../support/programs/wstun-process.ts';
import { tempDir } from '../support/temp-dir.ts';

const relayAt = async (...places: readonly string[]): Promise<WstunProcess> => {
  const listen = places.flatMap((place) => ['--listen', place]);
  return new WstunProcess(['relay', '--json', '--state', await tempDir(), ...listen]);
};

/** What `ss` shows of a port, as local addresses: `*` is a socket that takes both families. */
async function listeners(port: number): Promise<string[]> {
  const lines = (await runWell('ss', ['-Htln', `sport = :${port}`])).trim().split('\n');
  return lines.map((line) => String(line.split(/\s+/)[3])).sort();
}

/** The HTTP status with which each family is answered; `000`: not at all. */
async function answers(port: number): Promise<string[]> {
  const status = async (host: string): Promise<string> =>
    (await run('curl', ['-q', '-s', '-o', '/dev/null', '-w', '%{http_code}', `http://${host}:${port}/`])).stdout;
  return [await status('127.0.0.1'), await status('[::1]')];
}

it.each([
  ['0.0.0.0:PORT', '[::]:PORT'],
  ['[::]:PORT', '0.0.0.0:PORT'],
  ['[0:0:0:0:0:0:0:0]:PORT', '0.0.0.0:PORT'],
])('a relay listens on both families at one port: --listen %s --listen %s', async (...places) => {
  const port = await freePort();
  const relay = await relayAt(...places.map((place) => place.replace('PORT', String(port))));
  await relay.event('ready');
  expect(await listeners(port)).toEqual([`0.0.0.0:${port}`, `[::]:${port}`]);
  expect(await answers(port)).toEqual(['404', '404']);
});

it.each(['127.0.0.1', 'localhost'])(
  'a relay listens on all IPv6 addresses and one IPv4 address with the same port: %s',
  async (host) => {
    const port = await freePort();
    for (const places of [
      [`[::]:${port}`, `${host}:${port}`],
      [`${host}:${port}`, `[::]:${port}`],
    ]) {
      const relay = await relayAt(...places);
      await relay.event('ready');
      expect(await listeners(port)).toEqual([`127.0.0.1:${port}`, `[::]:${port}`]);
      expect(await answers(port)).toEqual(['404', '404']);
      await relay.kill();
    }
  },
);

it('a relay that listens on [::] only serves both families, also with another port on IPv4', async () => {
  const [port, other] = [await freePort(), await freePort()];
  const relay = await relayAt(`[::]:${port}`, `127.0.0.1:${other}`);
  await relay.event('ready');
  expect(await listeners(port)).toEqual([`*:${port}`]);
  expect(await answers(port)).toEqual(['404', '404']);
});

it('a relay rejects an address that is given twice, and says why', async () => {
  const place = `0.0.0.0:${await freePort()}`;
  const relay = await wstun(['relay', '--state', await tempDir(), '--listen', place, '--listen', place]);
  expect(relay).toMatchObject({
    code: 69,
    stderr: expect.stringContaining(`${place}: another program already listens there`),
  });
});

it('a relay on a machine without IPv6 rejects an IPv6 address in words, and serves on the IPv4 address beside it', async () => {
  await addNamespace('no-ipv6');
  const there = { within: within('no-ipv6') };
  await runWell('sysctl', ['-qw', 'net.ipv6.conf.all.disable_ipv6=1'], there);
  const alone = await wstun(['relay', '--state', await tempDir(), '--listen', '[::1]:8080'], there);
  expect(alone).toMatchObject({ code: 69, stderr: expect.stringContaining('this machine does not have that address') });
  const args = ['relay', '--json', '--state', await tempDir(), '--listen', '0.0.0.0:8080', '--listen', '[::]:8080'];
  await new WstunProcess(args, there).event('ready');
  const page = ['-q', '-s', '-o', '/dev/null', '-w', '%{http_code}', 'http://127.0.0.1:8080/'];
  expect(await runWell('curl', page, there)).toBe('404');
});
