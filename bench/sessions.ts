/**
 * Holds idle sessions at a relay, or bare WebSockets at a server, until it is ended. Sessions are shared out among the
 * invites.
 *
 *     WSTUN_INVITES="… …" node sessions.js COUNT wstun
 *     node sessions.js COUNT bare URL
 *
 * Prints {"event":"ready"} when all of them stand.
 */
import { once } from 'node:events';
import { WebSocket } from 'ws';
import { decodeInvite, type Invite } from '../src/crypto/invite.ts';
import { silentLogger } from '../src/observability/logger.ts';
import { RelaySessionDialer } from '../src/tunnel/dial/session-dialer.ts';
import { TunnelClient } from '../src/tunnel/session/tunnel-client.ts';

/** Fewer than the relay's limit of connections that are not links yet. */
const AT_A_TIME = 20;

function holdSession(invite: Invite): Promise<void> {
  return new Promise((resolve, reject) => {
    const observer = {
      onConnected: () => resolve(),
      onLinkLost: reject,
      onResumed() {},
      onSessionLost: reject,
      onFailed: reject,
    };
    new TunnelClient(new RelaySessionDialer(invite, 'on', silentLogger), observer, silentLogger).run().catch(reject);
  });
}

async function holdSocket(url: string): Promise<void> {
  await once(new WebSocket(url, { perMessageDeflate: false }), 'open');
}

const [count = '0', kind, url = ''] = process.argv.slice(2);
const invites = kind === 'wstun' ? (process.env.WSTUN_INVITES ?? '').split(' ').map(decodeInvite) : [];
for (let held = 0; held < Number(count); held += AT_A_TIME) {
  const batch = Array.from({ length: Math.min(AT_A_TIME, Number(count) - held) }, (_, i) => held + i);
  const hold = (number: number) => {
    const invite = invites[number % invites.length];
    return invite ? holdSession(invite) : holdSocket(url);
  };
  await Promise.all(batch.map(hold));
}
process.stdout.write(`${JSON.stringify({ event: 'ready' })}\n`);
