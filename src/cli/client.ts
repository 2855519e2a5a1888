/** `wstun client`: a proxy here, a session with the exit, until a signal or a fault that no retry could mend. */

import { watchDescriptors } from '../app/descriptor-guard.ts';
import { reachableHost } from '../app/own-address.ts';
import { decodeInvite, type Invite } from '../crypto/invite.ts';
import { WstunError } from '../errors.ts';
import { formatHostPort, type HostPort } from '../net/host-port.ts';
import { refuseOpenToNetwork } from '../proxy/listen-check.ts';
import { DEFAULT_PROXY_LIMITS } from '../proxy/proxy-limits.ts';
import { type ProxyServer, startProxyServer } from '../proxy/proxy-server.ts';
import type { Encryption } from '../tunnel/dial/handshake.ts';
import { RelaySessionDialer, refuseUnsealed, type TetherOptions } from '../tunnel/dial/session-dialer.ts';
import { TunnelClient } from '../tunnel/session/tunnel-client.ts';
import { findInvite, type InviteOptions } from './find-invite.ts';
import { followNetwork } from './follow-network.ts';
import { counted, OutageReport, seconds } from './outage-report.ts';
import { Output, type OutputOptions } from './output.ts';
import { describeProxy } from './proxy-usage.ts';
import { DRAIN_MS, firstSignal } from './shutdown.ts';
import { stallEvent, stallText } from './stall-report.ts';
import { type RunningTether, startTether } from './tether.ts';

/** Links, and Node's own. */
const DESCRIPTORS_BESIDE_PROGRAMS = 100;

interface ClientOptions extends OutputOptions, InviteOptions {
  readonly listen: HostPort;
  /** True: without an address. */
  readonly tether?: HostPort | true;
  /** False: by the phone alone. */
  readonly direct?: boolean;
  readonly user?: { readonly user: string; readonly pass: string };
  readonly allowLan?: boolean;
  readonly encryption?: Encryption;
  /** Milliseconds. */
  readonly resumeWindow?: number;
  readonly once?: boolean;
}

export async function runClient(options: ClientOptions): Promise<void> {
  const output = new Output(options);
  watchDescriptors(output.logger, DEFAULT_PROXY_LIMITS.maxConnections + DESCRIPTORS_BESIDE_PROGRAMS);
  const given = await findInvite(options);
  if (given === undefined) throw new WstunError('invite-missing');
  const invite = decodeInvite(given);
  if (invite.role === 'exit') throw new WstunError('invite-for-exit');
  const client = await startClient(invite, options, output, (listen) => {
    output.event({ event: 'ready', role: 'client', listen: formatHostPort(listen) });
    const address = { ...listen, host: reachableHost(listen.host) };
    output.say(describeProxy(listen, { address, user: options.user?.user }));
  });
  followNetwork((change) => {
    output.logger.debug({ change }, 'the network may have changed');
    client.wake();
  });
  // What has changed since it began, and before the network was watched.
  client.tether?.look();
  // Enter shows a new code, where nobody else reads there.
  if (options.inviteFile !== '-') client.tether?.takeCommands(process.stdin);
  const signalled = firstSignal(() => client.close(0));
  try {
    await Promise.race([client.ended, signalled]);
  } catch (error) {
    if (error instanceof WstunError) output.sayEnded(error);
    await client.close(0);
    throw error;
  }
  output.say('wstun: closing; press Ctrl-C again to stop now');
  await client.close(DRAIN_MS);
}

export interface RunningClient {
  /** The proxy's address. */
  readonly listen: string;
  readonly tether: RunningTether | undefined;
  /** Rejects when no further attempt could help. */
  readonly ended: Promise<void>;
  /** The network may have changed, or somebody asks: a new link is tried at once. */
  wake(): void;
  close(graceMs: number): Promise<void>;
}

/** Resolves when the proxy listens; `onReady` comes when the first session stands. */
export async function startClient(
  invite: Invite,
  options: Pick<
    ClientOptions,
    'listen' | 'user' | 'allowLan' | 'encryption' | 'resumeWindow' | 'tether' | 'direct' | 'once'
  >,
  output: Output,
  onReady: (listen: HostPort) => void,
): Promise<RunningClient> {
  const {
    listen: wanted,
    user: credentials,
    allowLan = false,
    encryption = 'on',
    resumeWindow,
    once = false,
  } = options;
  refuseOpenToNetwork({ host: wanted.host, hasCredentials: credentials !== undefined, allowLan });
  if (encryption === 'off') refuseUnsealed(invite, options.tether !== undefined);
  const tether = options.tether && (await startTether(options.tether, invite.relayUrls, output, () => tunnel.tryNow()));
  const outage = new OutageReport(output);
  let proxy: ProxyServer | undefined;
  const tunnel = new TunnelClient(
    new RelaySessionDialer(invite, encryption, output.logger, tether && tetherOptions(tether, options.direct)),
    {
      onConnected: ({ first, awayMs, streamsLost }) => {
        outage.handleOver();
        if (first) return onReady(proxy?.address ?? wanted);
        output.event({ event: 'connected', awayMs: Math.round(awayMs), streamsLost });
        output.say(`wstun: reconnected after ${seconds(awayMs)}; ${counted(streamsLost)} lost`);
      },
      onLinkLost: ({ streams }) => {
        output.event({ event: 'lost', streams });
        output.say(`wstun: link lost; ${counted(streams)} waiting for a new one`);
      },
      onResumed: ({ awayMs, streams }) => {
        outage.handleOver();
        output.event({ event: 'resumed', awayMs: Math.round(awayMs), streams });
        output.say(`wstun: resumed after ${seconds(awayMs)}; 0 streams lost`);
      },
      onStalled: (info) => {
        output.event(stallEvent(info));
        output.say(stallText(info));
      },
      onDraining: ({ streams }) => {
        output.event({ event: 'draining', streams });
        output.say(
          `wstun: the other end is shutting down; ${counted(streams)} may finish, and new ones use the next session`,
        );
      },
      onSessionLost: (error, { streams, isFinal }) => {
        output.event({ event: 'session-lost', code: error.code, message: error.message, streams });
        if (!isFinal) output.say(`wstun: ${error.message}`);
      },
      onFailed: (error, waitMs) => outage.handleFailed(error, waitMs),
    },
    output.logger,
    { once, ...(resumeWindow !== undefined && { resumeWindowMs: resumeWindow }) },
  );
  proxy = await startProxyServer({
    ...wanted,
    opener: tunnel,
    logger: output.logger,
    ...(credentials && { credentials }),
  });
  const { address } = proxy;
  return {
    listen: formatHostPort(address),
    tether,
    ended: tunnel.run(),
    wake: () => {
      tether?.look();
      tunnel.wake();
    },
    close: async (graceMs) => {
      outage.handleOver();
      // Who has no stream yet is not waited for.
      tunnel.drain();
      await proxy.close(graceMs);
      await tunnel.close(0);
      tether?.close();
    },
  };
}

function tetherOptions(pages: RunningTether, direct = true): TetherOptions {
  return { pages, direct };
}
