/**
 * `wstun vpn`: a client, tun2proxy, and the routes between them, for all programs of a Linux machine. Puts together
 * what src/vpn has. No output and no signals.
 */
import { lookup as systemLookup } from 'node:dns/promises';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { systemClock, type Timer } from '../clock.ts';
import { WstunError } from '../errors.ts';
import { formatHostPort, type HostPort } from '../net/host-port.ts';
import type { Logger } from '../observability/logger.ts';
import { openStateDir, type StateDir } from '../state/state-dir.ts';
import {
  type Change,
  DEVICE,
  nameServerFile,
  planVpn,
  RESOLV_CONF,
  tunArguments,
  type VpnFacts,
} from '../vpn/changes.ts';
import { thisMachine } from '../vpn/machine.ts';
import { OutsideResolver } from '../vpn/outside-resolver.ts';
import { restore, Setup } from '../vpn/setup.ts';
import { findTunProgram, startTunProgram, type TunProgram } from '../vpn/tun-program.ts';
import type { Client, ClientOptions } from './client.ts';

/** Whether the rules are still there. A look costs some milliseconds. */
const LOOK_EVERY_MS = 5_000;

type VpnHooks = Required<Pick<ClientOptions, 'lookup' | 'beforeDial'>>;

export interface VpnOptions {
  /** A directory: what was changed is written down there. */
  readonly state: string;
  /** Starts the client, and resolves when it is connected. */
  readonly connect: (hooks: VpnHooks) => Promise<VpnClient>;
  readonly logger: Logger;
}

interface VpnClient {
  readonly client: Client;
  /** Never rejects. */
  close(): Promise<void>;
}

export interface Vpn {
  /** Rejects with why it ends by itself: vpn-ended, or as of the client. */
  readonly ended: Promise<never>;
  readonly ipv6: VpnFacts['ipv6'];
  /** Tries a new link now. */
  reconnect(): void;
  /** Routes first, then the client. May be called again. Never rejects. */
  close(): Promise<void>;
}

/**
 * @throws WstunError vpn-running, vpn-program-missing, vpn-failed, vpn-ended, vpn-loop, state-unusable, and as
 * `connect`
 */
export async function startVpn(options: VpnOptions): Promise<Vpn> {
  const vpn = new RunningVpn(options);
  try {
    await vpn.start();
    return vpn;
  } catch (error) {
    await vpn.close();
    throw error;
  }
}

/** Undoes what a killed one has left. @returns whether there was something @throws WstunError vpn-running */
export async function restoreVpn(state: string, logger: Logger): Promise<boolean> {
  return await restore(await openOwnState(state), thisMachine, logger);
}

/** What root undoes must not be what another user has written there. @throws WstunError state-unusable */
async function openOwnState(path: string): Promise<StateDir> {
  const state = await openStateDir(path);
  if (state.isOwn) return state;
  throw new WstunError('state-unusable', `${state.path} belongs to another user`, {
    fix: 'Run it with the home of root, and without XDG_STATE_HOME: sudo -H wstun vpn',
  });
}

class RunningVpn implements Vpn {
  ended: Promise<never> = new Promise(() => {});
  ipv6: VpnFacts['ipv6'] = 'absent';
  /** Addresses to which the client has connected before there was a set-up. */
  private readonly dialled = new Set<string>();
  private readonly resolver = new OutsideResolver();
  private setup: Setup | undefined;
  private own: VpnClient | undefined;
  private program: TunProgram | undefined;
  private isClosing = false;
  private timer: Timer | undefined;

  constructor(private readonly options: VpnOptions) {}

  async start(): Promise<void> {
    const { logger, connect } = this.options;
    const path = findTunProgram(process.env);
    const state = await openOwnState(this.options.state);
    await restore(state, thisMachine, logger);
    const ownDnsPort = await this.resolver.open();
    this.own = await connect({ lookup: (host) => this.lookup(host), beforeDial: (place) => this.passAround(place) });
    const facts = await factsOf([...this.dialled], ownDnsPort);
    this.ipv6 = facts.ipv6;
    this.setup = new Setup(state, thisMachine, facts);
    await this.setup.make();
    this.program = await startTunProgram(
      path,
      tunArguments(formatHostPort(this.own.client.listen), facts.ipv6),
      logger,
    );
    await this.setup.noteProgram(this.program.pid);
    for (const address of facts.around) await this.refuseLoop(address);
    this.watchRules(this.setup);
    this.ended = this.untilOver(this.own.client, this.program);
    this.ended.catch(() => {});
  }

  reconnect(): void {
    this.own?.client.reconnect();
  }

  async close(): Promise<void> {
    this.isClosing = true;
    systemClock.clearTimeout(this.timer);
    // While the program still runs, nothing leaves the machine by a route that is not there any more.
    await this.setup?.undo();
    await this.program?.end();
    await this.own?.close();
    this.resolver.close();
  }

  private watchRules(setup: Setup): void {
    this.timer = systemClock.setTimeout(() => {
      void setup.repair().then((wasNeeded) => {
        if (wasNeeded)
          this.options.logger.warn({}, 'another program had deleted routing rules of wstun vpn; they are there again');
        if (!this.isClosing) this.watchRules(setup);
      });
    }, LOOK_EVERY_MS);
    this.timer.unref();
  }

  private async untilOver(client: Client, program: TunProgram): Promise<never> {
    const why = await Promise.race([program.ended, client.ended]);
    if (this.isClosing) return await new Promise<never>(() => {});
    throw new WstunError('vpn-ended', why ?? 'the client has ended');
  }

  /** Once everything goes into the tunnel, the system's resolver would ask there, too. */
  private async lookup(host: string): Promise<Awaited<ReturnType<VpnHooks['lookup']>>> {
    return this.setup === undefined ? await systemLookup(host, { all: true }) : await this.resolver.lookup(host);
  }

  private passAround({ host }: HostPort): Promise<void> | undefined {
    if (this.setup !== undefined) return this.admit(this.setup, host);
    this.dialled.add(host);
    return undefined;
  }

  private async admit(setup: Setup, address: string): Promise<void> {
    try {
      const isNew = await setup.passAround(address);
      if (isNew) await this.refuseLoop(address);
    } catch (error) {
      this.options.logger.error(
        { error: String(error) },
        'an address of the relay cannot be reached around the tunnel',
      );
      throw error;
    }
  }

  /** @throws WstunError vpn-loop */
  private async refuseLoop(address: string): Promise<void> {
    const route = await thisMachine.ask(['ip', 'route', 'get', address]);
    if (route?.includes(`dev ${DEVICE}`) === true) throw new WstunError('vpn-loop', `${address} dev ${DEVICE}`);
  }
}

/** What would be changed for a relay with these addresses. */
export async function vpnPlan(
  around: readonly string[],
  proxy: HostPort,
): Promise<{ readonly changes: readonly Change[]; readonly program: readonly string[] }> {
  const facts = await factsOf(around, undefined);
  return { changes: planVpn(facts), program: ['tun2proxy-bin', ...tunArguments(formatHostPort(proxy), facts.ipv6)] };
}

async function factsOf(around: readonly string[], ownDnsPort: number | undefined): Promise<VpnFacts> {
  const resolvConf = await readFile(RESOLV_CONF, 'utf8').catch(() => undefined);
  return { around, ownDnsPort, ipv6: await ipv6Here(), file: nameServerFile(resolvConf) };
}

async function ipv6Here(): Promise<VpnFacts['ipv6']> {
  if (!existsSync('/proc/net/if_inet6')) return 'absent';
  const isOff = await readFile('/proc/sys/net/ipv6/conf/default/disable_ipv6', 'utf8').catch(() => '1');
  return isOff.trim() === '0' ? 'carried' : 'blocked';
}
