import { existsSync, statSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { parseForward } from '../../src/forward/forward.ts';
import { TcpForward, type TcpForwardOptions } from '../../src/forward/tcp-forward.ts';
import { silentLogger } from '../../src/observability/logger.ts';
import { collectingLogger } from '../support/collecting-logger.ts';
import { Client, echo, tcpServer } from '../support/net/tcp.ts';
import { FakeOpener } from '../support/proxy/fake-opener.ts';
import { tempDir } from '../support/temp-dir.ts';
import { until } from '../support/until.ts';

type Tcp = TcpForwardOptions['forward'];

function forwardTo(text: string, targetPort: number, options: Partial<TcpForwardOptions> = {}) {
  const opener = new FakeOpener(targetPort);
  const forward = new TcpForward({ forward: parseForward(text) as Tcp, opener, logger: silentLogger, ...options });
  onTestFinished(() => forward.close(0));
  return { forward, opener };
}

async function started(text: string, targetPort: number, options: Partial<TcpForwardOptions> = {}) {
  const { forward, opener } = forwardTo(text, targetPort, options);
  await forward.start();
  return { forward, opener, port: 'port' in forward.listen ? forward.listen.port : 0 };
}

function at(path: string): Client {
  return new Client(connect({ path, allowHalfOpen: true }));
}

describe('a TCP forward', () => {
  it('a connection to a forward is a stream to its target, and both half-closes pass', async () => {
    const { port, opener } = await started('0:intra.example:80', await tcpServer(echo));
    const client = new Client(port);
    client.socket.end('hello');
    await until(() => client.events.includes('close'));
    expect({ received: client.received.toString(), events: client.events }).toEqual({
      received: 'hello',
      events: ['end', 'close'],
    });
    expect(opener.targets).toEqual([{ kind: 'name', name: 'intra.example', port: 80 }]);
  });

  it('a connection whose target refuses is reset, and the log names the forward but not the target', async () => {
    const { logger, lines } = collectingLogger();
    const { port, opener } = await started('0:secret.example:80', 0, { logger });
    opener.fault = 'dial-refused';
    for (let n = 0; n < 3; n++) {
      const client = new Client(port).send('hello');
      await until(() => client.events.includes('close'));
      expect(client.events).toEqual(['reset', 'close']);
    }
    const warnings = lines.filter(({ level }) => level === 40);
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toMatchObject({ forward: `127.0.0.1:${port}`, fault: 'dial-refused' });
    expect(JSON.stringify(lines.filter(({ level }) => level > 20))).not.toContain('secret.example');
  });

  it('a reset by the target resets the connection, after what came before', async () => {
    const target = await tcpServer((socket) => {
      socket.once('data', () => socket.write('last words'));
      socket.once('end', () => socket.resetAndDestroy());
    });
    const { port } = await started('0:a:80', target);
    const client = new Client(port).send('hello');
    expect((await client.take(10)).toString()).toBe('last words');
    client.socket.end();
    await until(() => client.events.includes('close'));
    expect(client.events).toEqual(['reset', 'close']);
  });

  it('a program that gives up before the target has answered cancels the dial', async () => {
    const { port, opener } = await started('0:a:80', await tcpServer(echo));
    opener.hold();
    const client = new Client(port);
    await until(() => opener.targets.length === 1);
    client.socket.resetAndDestroy();
    await until(() => opener.signals[0]?.aborted === true);
  });

  it('a forward that closes gives open connections the time, then resets them', async () => {
    const { forward, port } = await started('0:a:80', await tcpServer(echo));
    const client = new Client(port).send('hello');
    await client.take(5);
    let isClosed = false;
    const closed = forward.close(30_000).then(() => {
      isClosed = true;
    });
    client.send('more');
    await client.take(4);
    expect(isClosed).toBe(false);
    await forward.close(0);
    await closed;
    await until(() => client.events.includes('close'));
    expect(client.events).toEqual(['reset', 'close']);
  });

  it('connections above the limit are closed unread, and that is said once', async () => {
    const { logger, lines } = collectingLogger();
    const { port } = await started('0:a:80', await tcpServer(echo), { logger, maxConnections: 1 });
    const first = new Client(port).send('one');
    await first.take(3);
    for (let n = 0; n < 2; n++) {
      const next = new Client(port);
      await until(() => next.events.length > 0);
    }
    expect(lines.filter(({ level }) => level === 40)).toHaveLength(1);
  });

  it('a port that is taken is told as that of the proxy', async () => {
    const port = await tcpServer(echo);
    const { forward } = forwardTo(`${port}:a:80`, 0);
    await expect(forward.start()).rejects.toMatchObject({
      fault: 'cannot-listen',
      message: expect.stringContaining('another program already listens there'),
    });
  });
});

describe('a forward at a path', () => {
  it('a socket at a path is for its owner alone, works, and is gone at the end', async () => {
    const path = join(await tempDir(), 'db.sock');
    const { forward } = await started(`unix:${path}:db:5432`, await tcpServer(echo));
    expect(statSync(path).mode & 0o777).toBe(0o600);
    const client = at(path).send('hello');
    expect((await client.take(5)).toString()).toBe('hello');
    client.socket.end();
    await forward.close(1_000);
    expect(existsSync(path)).toBe(false);
  });

  it('a socket that a killed process has left behind is replaced', async () => {
    const path = join(await tempDir(), 'db.sock');
    const { spawnSync } = await import('node:child_process');
    const program = `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`;
    spawnSync(process.execPath, ['-e', program]);
    expect(existsSync(path)).toBe(true);
    await started(`unix:${path}:db:5432`, await tcpServer(echo));
    const client = at(path).send('hello');
    expect((await client.take(5)).toString()).toBe('hello');
  });

  it('a socket at which another process listens is left alone', async () => {
    const path = join(await tempDir(), 'db.sock');
    const other = createServer((socket) => socket.on('error', () => {}).end('other'));
    await new Promise<void>((resolve) => void other.listen(path, resolve));
    onTestFinished(() => void other.close());
    const { forward } = forwardTo(`unix:${path}:db:5432`, 0);
    await expect(forward.start()).rejects.toMatchObject({ fault: 'cannot-listen' });
    expect(await at(path).rest()).toBe('other');
  });

  it.each([
    ['a file', (dir: string) => join(dir, 'file'), 'another kind'],
    ['a directory that does not exist', (dir: string) => join(dir, 'no', 'db.sock'), 'no such directory'],
    ['a path that is too long', (dir: string) => join(dir, 'x'.repeat(200)), 'too long'],
  ])('%s is not a place for a socket, and nothing is changed', async (_, pathIn, reason) => {
    const dir = await tempDir();
    writeFileSync(join(dir, 'file'), 'precious');
    const { forward } = forwardTo(`unix:${pathIn(dir)}:db:5432`, 0);
    await expect(forward.start()).rejects.toMatchObject({
      fault: 'cannot-listen',
      message: expect.stringContaining(reason),
    });
    expect(statSync(join(dir, 'file')).size).toBe(8);
  });
});
