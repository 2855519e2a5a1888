/**
 * wstun as it is, except that its client leaves encryption off although the relay has no TLS, which `wstun client`
 * refuses. Set against the real one it shows what sealing costs, and nothing else.
 */
import { tuneMemory } from '../src/app/memory-tuning.ts';
import { decodeInvite } from '../src/crypto/invite.ts';
import { silentLogger } from '../src/observability/logger.ts';
import { startProxyServer } from '../src/proxy/proxy-server.ts';
import { RelaySessionDialer } from '../src/tunnel/dial/session-dialer.ts';
import { TunnelClient } from '../src/tunnel/session/tunnel-client.ts';

async function runClient(): Promise<void> {
  tuneMemory();
  const dialer = new RelaySessionDialer(decodeInvite(process.env.WSTUN_INVITE ?? ''), 'off', silentLogger);
  const ready = () =>
    process.stdout.write(`${JSON.stringify({ event: 'ready', listen: `127.0.0.1:${proxy.address.port}` })}\n`);
  const observer = { onConnected: ready, onLinkLost() {}, onResumed() {}, onSessionLost() {}, onFailed() {} };
  const client = new TunnelClient(dialer, observer, silentLogger);
  const proxy = await startProxyServer({ host: '127.0.0.1', port: 0, opener: client, logger: silentLogger });
  await client.run();
}

if (process.argv[2] === 'client') await runClient();
else await import(new URL('../../bin/wstun.js', import.meta.url).href);
