/**
 * Runs a PAC script in QuickJS (WebAssembly), which is loaded when it is used. The script has only the functions of
 * PAC. It runs from its start to its end without a pause, so that its time can be limited: a name that it asks for and
 * that is not known yet is looked up afterwards, and then it runs again.
 */
import { lookup as systemLookup } from 'node:dns/promises';
import type { JSValueHandle, QuickJS } from 'quickjs-wasi';
import { readAsset } from '../../assets.ts';
import type { Clock } from '../../clock.ts';
import { isInNet, ownAddress, shExpMatch } from './pac-functions.ts';

/** For the script, ms of this process's time, all runs for one result together; and with its look-ups. */
const RUN_LIMIT_MS = 2_000;
const RESULT_LIMIT_MS = 5_000;
const MAX_SANDBOX_BYTES = 32 * 1024 * 1024;
/** Names for one result. Each may need a run of its own. */
const MAX_LOOKUPS = 32;
/** Of one result: eight ways with the longest names have less. */
const MAX_RESULT_CHARS = 4096;

/** IPv4, as PAC has it. Rejects or undefined: there is none. */
export type PacLookup = (host: string) => Promise<string | undefined>;

const lookupIpv4: PacLookup = async (host) => (await systemLookup(host, { family: 4 })).address;

/** For the address of this machine; no host has such a name. */
const OWN = ' own';

/** What one result needs. */
interface Asking {
  /** What is known, by name. */
  readonly addresses: Map<string, string | undefined>;
  /** What the script has asked for, and nobody knows yet. */
  readonly missing: Set<string>;
  usedMs: number;
}

type Value = string | number | boolean | null | undefined;

/** How long a script has run, and whether it must stop. */
class RunTime {
  /** Whose script runs now, and since when. */
  current: Asking | undefined;
  private since = 0;
  /** It has run into its limit. It would cost as much each time, so it does not run again. */
  private isEndless = false;

  constructor(private readonly clock: Clock) {}

  /** Nothing of the script runs outside of it. */
  run<T>(asking: Asking, work: () => T): T {
    if (this.isEndless) throw new Error('it does not end');
    this.current = asking;
    this.since = this.clock.now();
    try {
      return work();
    } finally {
      asking.usedMs += this.clock.now() - this.since;
      this.current = undefined;
    }
  }

  mustStop(): boolean {
    const { current } = this;
    this.isEndless ||= current === undefined || current.usedMs + this.clock.now() - this.since > RUN_LIMIT_MS;
    return this.isEndless;
  }
}

export class PacSandbox {
  private constructor(
    private readonly vm: QuickJS,
    private readonly find: JSValueHandle,
    private readonly time: RunTime,
    private readonly clock: Clock,
    private readonly lookup: PacLookup,
  ) {}

  /** Rejects with an Error for what is no script with FindProxyForURL. @param lookup default: the system's resolver */
  static async load(script: string, clock: Clock, lookup = lookupIpv4): Promise<PacSandbox> {
    const [{ sandbox: functions }, { QuickJS }] = await Promise.all([import('pac-resolver'), import('quickjs-wasi')]);
    const wasm = readAsset('quickjs.wasm');
    let time: RunTime | undefined;
    const interruptHandler = (): boolean => time?.mustStop() ?? false;
    const vm = await QuickJS.create({ wasm, memoryLimit: MAX_SANDBOX_BYTES, interruptHandler });
    const running = new RunTime(clock);
    time = running;
    addFunctions(vm, functions, (name) => addressOf(running.current, name));
    const find = running.run(newAsking(), () => vm.evalCode(`${script}\n;FindProxyForURL`, 'proxy.pac'));
    if (vm.typeof(find) !== 'function') throw new Error('there is no FindProxyForURL');
    return new PacSandbox(vm, find, running, clock, lookup);
  }

  /** What FindProxyForURL returns; `null` for nothing. Rejects with an Error without text of the script. */
  async resultFor(url: string, host: string): Promise<string> {
    const asking = newAsking();
    const until = this.clock.now() + RESULT_LIMIT_MS;
    for (;;) {
      const result = this.time.run(asking, () => this.call(url, host));
      if (asking.missing.size === 0) return result;
      const looked = asking.addresses.size + asking.missing.size;
      const leftMs = until - this.clock.now();
      if (looked > MAX_LOOKUPS || leftMs <= 0) throw new Error('it asks for too much');
      await this.lookUp(asking, leftMs);
    }
  }

  private call(url: string, host: string): string {
    const { vm, find } = this;
    const args = [vm.newString(url), vm.newString(host)];
    try {
      const text = vm.callFunction(find, vm.undefined, ...args).consume((result) => String(contentOf(vm, result)));
      if (text.length > MAX_RESULT_CHARS) throw new Error('its result is too long');
      return text;
    } finally {
      for (const handle of args) handle.dispose();
    }
  }

  /** Names that are not found in time are not known. */
  private async lookUp({ missing, addresses }: Asking, leftMs: number): Promise<void> {
    const names = [...missing];
    missing.clear();
    const found = names.map(async (name) => {
      const address = name === OWN ? ownAddress() : this.lookup(name);
      addresses.set(name, await address.catch(() => undefined));
    });
    let timer: ReturnType<Clock['setTimeout']> | undefined;
    const limit = new Promise<void>((resolve) => {
      timer = this.clock.setTimeout(resolve, leftMs);
    });
    await Promise.race([Promise.all(found), limit]);
    this.clock.clearTimeout(timer);
    for (const name of names) if (!addresses.has(name)) addresses.set(name, undefined);
  }
}

/** Undefined: there is none, or it is not known yet. */
function addressOf(asking: Asking | undefined, name: string): string | undefined {
  if (asking !== undefined && name !== '' && !asking.addresses.has(name)) asking.missing.add(name);
  return asking?.addresses.get(name);
}

function addFunctions(vm: QuickJS, functions: object, address: (name: string) => string | undefined): void {
  const own: Readonly<Record<string, (...args: string[]) => Value>> = {
    alert: () => undefined,
    dnsResolve: (host = '') => address(host) ?? null,
    isResolvable: (host = '') => address(host) !== undefined,
    isInNet: (host = '', pattern = '', mask = '') => isInNet(address(host) ?? '', pattern, mask),
    myIpAddress: () => address(OWN) ?? '127.0.0.1',
    shExpMatch: (text = '', pattern = '') => shExpMatch(text, pattern),
  };
  for (const [name, value] of Object.entries<(...args: Value[]) => Value>({ ...functions }))
    if (own[name] === undefined) addFunction(vm, name, value);
  for (const [name, value] of Object.entries(own)) addFunction(vm, name, (...args) => value(...args.map(String)));
}

function newAsking(): Asking {
  return { addresses: new Map(), missing: new Set(), usedMs: 0 };
}

function addFunction(vm: QuickJS, name: string, value: (...args: Value[]) => Value): void {
  const call = vm.newFunction(name, (...args) => handleOf(vm, value(...args.map((arg) => contentOf(vm, arg)))));
  call.consume((handle) => vm.setProp(vm.global, name, handle));
}

/** An object is nothing: to read one could run more of the script. */
function contentOf(vm: QuickJS, handle: JSValueHandle): Value {
  const type = vm.typeof(handle);
  return ['string', 'number', 'boolean'].includes(type) ? (vm.dump(handle) as Value) : null;
}

function handleOf(vm: QuickJS, value: Value): JSValueHandle {
  if (typeof value === 'string') return vm.newString(value);
  if (typeof value === 'number') return vm.newNumber(value);
  if (typeof value === 'boolean') return value ? vm.true : vm.false;
  return value === null ? vm.null : vm.undefined;
}
