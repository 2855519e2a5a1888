/** `wstun.toml` as its users have it: programs that run by it alone, and follow it while they run. */
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { closedPort, echo, tcpServer } from '../support/net/tcp.ts';
import { WstunProcess, wstun } from '../support/programs/wstun-process.ts';
import { invite, startRelay } from '../support/programs/wstun-stack.ts';
import { connectThrough } from '../support/proxy/through-proxy.ts';
import { tempDir } from '../support/temp-dir.ts';
import { until } from '../support/until.ts';

const START_MS = 30_000;

/** Where a program finds it by itself. */
async function home(toml: string) {
  const base = await tempDir();
  const file = join(base, 'wstun', 'wstun.toml');
  await mkdir(join(base, 'wstun'), { mode: 0o700 });
  await writeFile(file, toml, { mode: 0o600 });
  return {
    file,
    env: { XDG_CONFIG_HOME: base, XDG_STATE_HOME: join(base, 'state') },
    write: (text: string) => writeFile(file, text),
  };
}

const portOf = (address: unknown) => Number(String(address).replace(/^.*:/, ''));

describe('wstun.toml', { timeout: 300_000 }, () => {
  it('a relay and a client run by a file alone, and the client follows it at a change and at SIGHUP', async () => {
    const target = await tcpServer(echo);
    const state = await tempDir();
    const server = await home(
      `[relay]\nlisten = ["127.0.0.1:0"]\nstate = "${state}"\njson = true\nmax-pending-per-address = 9\n`,
    );
    const relay = new WstunProcess(['relay'], { env: server.env });
    const ready = await relay.event('ready', START_MS);
    const secret = await invite({ state, process: relay }, 'alice', { allow: ['*'] });

    const base = `[client]\ninvite = "${secret}"\nlisten = "127.0.0.1:0"\njson = true\n`;
    const laptop = await home(base);
    const client = new WstunProcess(['client'], { env: laptop.env });
    const port = portOf((await client.event('ready', START_MS)).listen);
    (await connectThrough('SOCKS5', port, target)).destroy();

    await laptop.write(`${base}user = "me:secret"\nlinks = 2\n`);
    expect(await client.event('config', START_MS)).toMatchObject({ changed: ['user'], restart: ['links'] });
    await expect(connectThrough('SOCKS5', port, target)).rejects.toThrow();

    await laptop.write(`${base}user = 3\n`);
    expect(await client.event('config-rejected', START_MS)).toMatchObject({
      code: 'WSTUN-E191',
      message: expect.stringMatching(/wstun\.toml:5: user must be a text/),
    });
    await expect(connectThrough('SOCKS5', port, target)).rejects.toThrow();

    await laptop.write(base);
    expect(await client.event('config', START_MS)).toMatchObject({ changed: ['user'], restart: [] });
    (await connectThrough('SOCKS5', port, target)).destroy();
    client.signal('SIGHUP');
    expect(await client.event('config', START_MS)).toMatchObject({ changed: [], restart: [] });

    await laptop.write(`${base}proxy = "http://127.0.0.1:${await closedPort()}"\n`);
    expect(await client.event('config', START_MS)).toMatchObject({ changed: ['proxy'] });
    expect(ready.url).toBeDefined();
    expect(client.stderr + client.stdout).not.toContain(secret);
    expect(client.stderr + client.stdout).not.toContain('me:secret');
  });

  it('a relay puts in force what can change, and names what needs a restart', async () => {
    const [state, site] = [await tempDir(), await tempDir()];
    const other = await tempDir();
    await writeFile(join(site, 'index.html'), 'first site');
    await writeFile(join(other, 'index.html'), 'second site');
    const base = `[relay]\nlisten = "127.0.0.1:0"\nstate = "${state}"\njson = true\n`;
    const server = await home(`${base}decoy = "${site}"\n`);
    const relay = new WstunProcess(['relay', '--config', server.file]);
    const ready = await relay.event('ready', START_MS);
    const page = async () => (await fetch(`http://127.0.0.1:${portOf((ready.listen as string[])[0])}/`)).text();
    expect(await page()).toBe('first site');

    const live = 'trust-proxy = "loopback"\nmax-pending-per-address = 7\nresume-window = 30\nverbose = true\n';
    await server.write(`${base}decoy = "${other}"\n${live}path = "/x"\n`);
    const keys = ['decoy', 'max-pending-per-address', 'resume-window', 'trust-proxy', 'verbose'];
    const { changed, restart } = await relay.event('config', START_MS);
    expect(new Set(changed as string[])).toEqual(new Set(keys));
    expect(restart).toEqual(['path']);
    expect(await page()).toBe('second site');

    await server.write(`${base}decoy = "http://127.0.0.1:1"\n`);
    expect((await relay.event('config', START_MS)).restart).toEqual(['decoy']);
    expect(await page()).toBe('second site');
    relay.signal('SIGHUP');
    await relay.event('config', START_MS);
    expect(relay.isRunning).toBe(true);
  });

  it('a file that others can read or write is refused where that matters, and check tells all mistakes', async () => {
    const { file, env } = await home('[client]\nuser = "me:hunter2"\nlisten = "127.0.0.1:1090"\n');
    const show = await wstun(['config', 'show', 'client', '--origin'], {
      env: { ...env, WSTUN_LINKS: '3', WSTUN_LISEN: 'x' },
    });
    expect(show.stdout).toContain(`listen = "127.0.0.1:1090"  # ${file}:3`);
    expect(show.stdout).toContain('links = 3  # WSTUN_LINKS');
    expect(show.stdout).toMatch(/user = "me:[^"a-z]+"/);
    expect(show.stdout + show.stderr).not.toContain('hunter2');
    await chmod(file, 0o644);
    const exposed = await wstun(['client', 'x'], { env });
    expect(exposed).toMatchObject({ code: 78, stderr: expect.stringContaining(`chmod 600 ${file}`) });
    await writeFile(file, '[client]\nlisten = "127.0.0.1:1090"\n\n[relay]\nexit = false\n');
    expect(await wstun(['config', 'check'], { env })).toMatchObject({
      code: 0,
      stdout: 'OK: 1 setting for client, 1 for relay\n',
    });
    await chmod(file, 0o666);
    expect((await wstun(['config', 'check'], { env })).stderr).toContain(`chmod o-w ${file}`);
    await chmod(file, 0o600);
    await writeFile(file, '[client]\nlisen = 1\nbond = 1\n');
    const wrong = await wstun(['config', 'check', file]);
    expect(wrong.code).toBe(78);
    expect(wrong.stderr.split('\n').slice(0, 2)).toEqual([
      expect.stringMatching(/wstun\.toml:2: .*Did you mean listen\?/),
      expect.stringMatching(/wstun\.toml:3: bond must be true or false/),
    ]);
    const run = await wstun(['client', 'x'], { env });
    expect(run).toMatchObject({ code: 78, stderr: expect.stringContaining('1 more: wstun config check') });
    await writeFile(file, Buffer.from([0x5b, 0xff, 0x5d]));
    expect((await wstun(['config', 'check', file])).stderr).toContain('line 1: it is not UTF-8');
    expect((await wstun(['config', 'check', join(file, '..')])).stderr).toContain('it is a directory');
    await writeFile(file, `# ${'x'.repeat(300_000)}`);
    expect((await wstun(['config', 'check', file])).stderr).toContain('larger than 256 KiB');
    expect(await wstun(['config', 'path', '--config', 'none'])).toMatchObject({ code: 78 });
  });

  it('an unknown variable is a warning with the one that may be meant', async () => {
    const relay = await startRelay({ env: { WSTUN_RESUME_WINDW: '3' } });
    await until(() => relay.process.stderr.includes('did you mean WSTUN_RESUME_WINDOW?'), START_MS);
  });
});
