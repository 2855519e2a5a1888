/**
 * The command of --proxy-auth-command: what it is told, and what it is not.
 * @module-tag waits
 */
import { describe, expect, it } from 'vitest';
import { systemClock } from '../../../src/clock.ts';
import { runAuthenticationCommand } from '../../../src/transport/proxy/authentication-command.ts';
import { never } from '../../support/never.ts';
import { atEnd } from '../../support/scope.ts';

describe('the command of --proxy-auth-command', () => {
  it('gets what the proxy asked, and no variable of wstun with a secret', async () => {
    for (const name of ['WSTUN_INVITE', 'WSTUN_HEADERS', 'WSTUN_USER', 'WSTUN_ACME_EAB']) {
      process.env[name] = 'secret';
      atEnd(() => {
        delete process.env[name];
      });
    }
    const challenge = { scheme: 'Negotiate', token: '', parameters: new Map(), text: 'Negotiate' };
    const command = "env | grep ^WSTUN_ | sort | tr '\\n' ' '";
    const proxy = { host: 'proxy.test', port: 3128 };
    expect(await runAuthenticationCommand({ command, challenge, proxy, signal: never, clock: systemClock })).toBe(
      'WSTUN_PROXY_CHALLENGE=Negotiate WSTUN_PROXY_HOST=proxy.test WSTUN_PROXY_PORT=3128 WSTUN_PROXY_SCHEME=Negotiate',
    );
  });
});
