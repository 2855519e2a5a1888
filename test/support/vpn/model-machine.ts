/**
 * A machine's rules, routes, devices and files as ip(8) and the kernel treat them, as far as `wstun vpn` uses them: what
 * is there already cannot be added, what is not there cannot be deleted, and a device takes its routes along.
 */
import ipaddr from 'ipaddr.js';
import type { Change, Command } from '../../../src/vpn/changes.ts';
import type { Machine } from '../../../src/vpn/machine.ts';

export class ModelMachine implements Machine {
  /** Each as it was added, without the command. */
  private readonly rules = new Set<string>();
  private readonly routes = new Set<string>();
  private readonly addresses = new Set<string>();
  private readonly devices = new Map<string, 'up' | 'down'>();
  private readonly files: Map<string, string>;
  /** All that was run. */
  readonly commands: string[] = [];
  /** Fails from now on after so many commands. */
  failAfter = Number.POSITIVE_INFINITY;

  constructor(files: Readonly<Record<string, string | undefined>>) {
    this.files = new Map(Object.entries(files).flatMap(([path, text]) => (text === undefined ? [] : [[path, text]])));
  }

  async make(change: Change): Promise<void> {
    if (change.kind === 'file') this.files.set(change.path, change.after);
    else if (this.commands.length >= this.failAfter || !this.run(change.run))
      throw new Error(`failed: ${change.run.join(' ')}`);
  }

  async undo(change: Change): Promise<void> {
    if (change.kind === 'command') return void this.run(change.undo);
    if (this.files.get(change.path) !== change.after) return;
    if (change.before === undefined) this.files.delete(change.path);
    else this.files.set(change.path, change.before);
  }

  async ask(command: Command): Promise<string> {
    const [, family = '', what] = command;
    if (what === 'rule')
      return [...this.rules]
        .filter((rule) => rule.startsWith(family))
        .map((rule) => `${priorityOf(rule)}:\tfrom all`)
        .join('\n');
    return `to ${command.at(-1)} dev ${this.routeTo(command.at(-1) ?? '')}`;
  }

  describe(): string {
    const { rules, routes, addresses, devices, files } = this;
    return JSON.stringify([rules, routes, addresses, devices, files].map((each) => [...each]));
  }

  /** As systemd-networkd does when it is restarted. */
  removeRules(): void {
    this.rules.clear();
  }

  removeDevice(name: string): void {
    this.devices.delete(name);
    for (const set of [this.routes, this.addresses])
      for (const each of set) if (each.includes(`dev ${name}`)) set.delete(each);
  }

  /** `main`: as the machine's own routes say. @param address of a program that sends anything but DNS */
  routeTo(address: string): string {
    const ip = ipaddr.parse(address);
    const family = ip.kind() === 'ipv4' ? '-4' : '-6';
    const inOrder = [...this.rules]
      .filter((rule) => rule.startsWith(family) && !rule.includes('dport'))
      .sort((a, b) => priorityOf(a) - priorityOf(b));
    for (const rule of inOrder) {
      const to = / to (\S+)/.exec(rule)?.[1];
      if (to !== undefined && !contains(to, ip)) continue;
      // Of the main table, without its default route, there is nothing here.
      if (rule.includes('suppress_prefixlength')) continue;
      if (rule.includes('lookup main')) return 'main';
      const found = this.bestRoute(family);
      if (found !== undefined) return found;
    }
    return 'main';
  }

  private bestRoute(family: string): string | undefined {
    const found = [...this.routes].filter((route) => route.startsWith(family));
    const device = found.map((route) => / dev (\S+)/.exec(route)?.[1]).find((name) => name !== undefined);
    return device ?? (found.some((route) => route.includes('unreachable')) ? 'unreachable' : undefined);
  }

  /** False: it fails. */
  private run(command: Command): boolean {
    const text = command.slice(1).join(' ');
    this.commands.push(text);
    const link = /^(tuntap add mode tun name|link delete|link set) (\S+)(?: (up|down))?$/.exec(text);
    if (link?.[1] !== undefined && link[2] !== undefined) return this.runLink(link[1], link[2], link[3]);
    const [, family, kind, verb, what = ''] = /^(-[46]) (rule|route|address) (add|delete) (.*)$/.exec(text) ?? [];
    const set = { rule: this.rules, route: this.routes, address: this.addresses }[kind ?? ''];
    if (set === undefined) throw new Error(`not in this model: ip ${text}`);
    const device = / dev (\S+)/.exec(text)?.[1];
    if (device !== undefined && !this.devices.has(device)) return false;
    const entry = `${family} ${what.replace(' nodad', '')}`;
    if (verb === 'delete') return set.delete(entry);
    if (set.has(entry)) return false;
    set.add(entry);
    return true;
  }

  private runLink(verb: string, name: string, state: string | undefined): boolean {
    if (verb === 'link delete') {
      const isThere = this.devices.has(name);
      this.removeDevice(name);
      return isThere;
    }
    if (verb.startsWith('tuntap') === this.devices.has(name)) return false;
    this.devices.set(name, state === 'up' ? 'up' : 'down');
    return true;
  }
}

function priorityOf(rule: string): number {
  return Number(/priority (\d+)/.exec(rule)?.[1]);
}

function contains(network: string, ip: ipaddr.IPv4 | ipaddr.IPv6): boolean {
  const [base, bits] = ipaddr.parseCIDR(
    network.includes('/') ? network : `${network}/${ip.kind() === 'ipv4' ? 32 : 128}`,
  );
  return base.kind() === ip.kind() && ip.match(base, bits);
}
