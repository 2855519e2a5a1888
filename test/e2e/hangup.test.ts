/** SIGHUP: sent by someone, and when a terminal is closed. */
import { describe, it } from 'vitest';
import { echo, tcpServer } from '../support/net/tcp.ts';
import { spawnBound } from '../support/programs/programs.ts';
import { wstunPath } from '../support/programs/wstun-program.ts';
import { invite, startBehindRelay, startClient, startRelay } from '../support/programs/wstun-stack.ts';
import { connectThrough, dial } from '../support/proxy/through-proxy.ts';
import { atEnd } from '../support/scope.ts';
import { until } from '../support/until.ts';

const ASKED = '"change":"asked"';

describe('SIGHUP', () => {
  it('SIGHUP makes a client and an exit check their links, and ends neither', async () => {
    const target = await tcpServer(echo);
    const { exit } = await startBehindRelay(['--verbose']);
    const secret = await invite(exit, 'alice', { allow: ['127.0.0.1'] });
    const client = await startClient(secret, { args: ['--verbose'] });
    for (const { process } of [client, exit]) {
      process.signal('SIGHUP');
      await until(() => process.stderr.includes(ASKED));
    }
    (await connectThrough('SOCKS5', client.port, target)).destroy();
  });

  it('a terminal that is closed ends the client that was started in it', async () => {
    const relay = await startRelay();
    // `script` gives its command a terminal of its own; when it is killed, that terminal is gone.
    const command = `echo "pid $$."; exec ${process.execPath} ${wstunPath} client --listen 127.0.0.1:0`;
    const terminal = spawnBound('script', ['--quiet', '--command', command, '/dev/null'], {
      env: { WSTUN_INVITE: relay.invite ?? '', SHELL: '/bin/bash' },
    });
    let shown = '';
    terminal.stdout?.on('data', (text: Buffer) => {
      shown += text.toString();
    });
    await until(() => shown.includes('Press Ctrl-C to stop'), 10_000);
    const [pid, port] = [/pid (\d+)\./, /proxy on 127\.0\.0\.1:(\d+)/].map((of) => Number(of.exec(shown)?.[1]));
    atEnd(() => isAlive(pid) && process.kill(pid ?? 0, 'SIGKILL'));
    (await dial(port ?? 0)).destroy();
    terminal.kill('SIGKILL');
    await until(() => !isAlive(pid));
  });
});

function isAlive(pid = 0): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
