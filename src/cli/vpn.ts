/** `wstun vpn`: runs it until a signal or a fault, restores what a killed one has left, or prints what it would do. */
import { lookup } from 'node:dns/promises';
import type { Command } from 'commander';
import { restoreVpn, startVpn, vpnPlan } from '../app/vpn.ts';
import { WstunError } from '../errors.ts';
import type { HostPort } from '../net/host-port.ts';
import { defaultStateDir } from '../state/default-dir.ts';
import { describeChange, describeUndo } from '../vpn/changes.ts';
import { redirectRules, tproxyRules } from '../vpn/firewall-rules.ts';
import { otherSystemLines } from '../vpn/other-systems.ts';
import { reports } from './client.ts';
import { followHangups } from './hangups.ts';
import { OutageReport } from './outage-report.ts';
import { type Output, type OutputOptions, printText, runWithOutput } from './output.ts';
import { type OwnClientPlan, planOwnClient } from './program-proxy.ts';
import { untilSignal } from './run.ts';
import { firstSignal } from './shutdown.ts';
import { TetherReport } from './tether.ts';

interface VpnCommand extends OutputOptions {
  readonly print?: 'machine' | 'tproxy' | 'redirect' | true;
  readonly restore?: boolean;
}

/** In the examples that are printed. */
const USUAL_PROXY: HostPort = { host: '127.0.0.1', port: 1080 };
const USUAL_PORTS = { tproxy: 7893, redirect: 7892 } as const;

export async function runVpn(command: Command): Promise<void> {
  const options = command.opts<VpnCommand>();
  const print = options.print ?? (process.platform === 'linux' ? undefined : true);
  await runWithOutput({ ...options, ...(print !== undefined && { quiet: true }) }, async (output) => {
    if (options.restore === true) return await runRestore(output);
    if (print !== undefined) return await runPrint(print === true ? 'machine' : print, command, output);
    return await run(command, output);
  });
}

async function run(command: Command, output: Output): Promise<NodeJS.Signals | undefined> {
  refuseWithoutRoot();
  const outage = new OutageReport(output);
  const events = reports(output, outage, new TetherReport(output), () => {});
  const plan = await planOwnClient(command, { output, events });
  const state = defaultStateDir('client', process.env);
  const { value: vpn, signal: early } = await untilSignal(async (signal) => {
    const started = await startVpn({ state, logger: output.logger, connect: (hooks) => plan.start(signal, hooks) });
    if (!signal.aborted) return started;
    await started.close();
    throw new WstunError('dial-cancelled');
  });
  if (vpn === undefined) return early;
  const ready = 'ready: all connections of this machine go through the tunnel; Ctrl-C ends that';
  output.event({ event: 'ready', role: 'vpn', ipv6: vpn.ipv6 });
  output.show(ready, { instead: ready });
  followHangups(() => vpn.reconnect());
  const close = () => {
    outage.handleOver();
    return vpn.close();
  };
  try {
    return await Promise.race([vpn.ended, firstSignal(close, output)]);
  } finally {
    await close();
  }
}

async function runRestore(output: Output): Promise<undefined> {
  refuseWithoutRoot();
  const restored = await restoreVpn(defaultStateDir('client', process.env), output.logger);
  printText(restored ? 'The routes are as they were before wstun vpn.' : 'There was nothing to restore.');
  return undefined;
}

async function runPrint(what: 'machine' | 'tproxy' | 'redirect', command: Command, output: Output): Promise<undefined> {
  const plan = await planOwnClient(command, { output, events: {} });
  const relays = await addressesOf(plan);
  if (what === 'machine') printText(await machineText(relays));
  else {
    const port = plan.settings[what]?.port ?? USUAL_PORTS[what];
    printText((what === 'tproxy' ? tproxyRules : redirectRules)({ port, relays }));
  }
  return undefined;
}

async function machineText(relays: readonly string[]): Promise<string> {
  const { platform } = process;
  if (platform !== 'linux') return otherSystemLines({ platform, relays, proxy: USUAL_PROXY });
  const { changes, program } = await vpnPlan(relays, USUAL_PROXY);
  const lines = [
    '# What sudo wstun vpn does; it also follows the addresses of the relay.',
    ...changes.map(describeChange),
    '# Then, with a client that listens there:',
    program.join(' '),
    '# At its end:',
    ...changes.toReversed().map(describeUndo),
  ];
  return lines.join('\n');
}

/** @throws WstunError relay-unreachable where none of the names can be resolved */
async function addressesOf({ relays }: OwnClientPlan): Promise<readonly string[]> {
  const hosts = relays.map((relay) => new URL(relay).hostname.replace(/^\[|\]$/g, ''));
  const found = await Promise.all(hosts.map((host) => lookup(host, { all: true }).catch(() => [])));
  const addresses = [...new Set(found.flat().map(({ address }) => address))];
  if (addresses.length === 0)
    throw new WstunError('relay-unreachable', `${hosts.join(', ')}: the name cannot be resolved`);
  return addresses;
}

/** @throws WstunError vpn-not-permitted */
function refuseWithoutRoot(): void {
  if (process.getuid !== undefined && process.getuid() !== 0) throw new WstunError('vpn-not-permitted');
}
