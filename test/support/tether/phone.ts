/**
 * A phone: headless Chromium, and the page of a tether in it. Driven by the bare DevTools protocol: Playwright watches
 * all traffic of a page, and would copy every message of every WebSocket into the test (a fifth of the speed, and not
 * the page's memory).
 */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { WebSocket } from 'ws';
import { PATIENCE } from '../patience.ts';
import { type SpawnOptions, spawnBound } from '../programs/programs.ts';
import { atEnd, atEndOfFile } from '../scope.ts';
import { tempDir } from '../temp-dir.ts';
import { until } from '../until.ts';

const ARGS = [
  '--headless=new',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--disable-extensions',
];
const CHROMIUM = '/usr/bin/chromium';

/**
 * Chromium with a profile of its own; ended with all its processes, which write to the profile to the last, before that
 * is removed.
 */
export async function spawnChromium(
  args: readonly string[],
  { atItsEnd = atEnd, ...options }: SpawnOptions & { readonly atItsEnd?: typeof atEnd } = {},
): Promise<ChildProcess> {
  const profile = await tempDir(atItsEnd);
  const own = [...ARGS, `--user-data-dir=${profile}`, '--remote-debugging-port=0'];
  const child = spawnBound(CHROMIUM, [...own, ...args], options);
  // Else the end of what it prints, which all its processes hold open, would not be seen.
  for (const stream of [child.stdout, child.stderr]) stream?.resume();
  const ended = once(child, 'close');
  atItsEnd(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  return child;
}

const MIB = 1024 * 1024;
const START_LIMIT_MS = 20_000;

export interface PhoneOptions {
  /** Beside the usual ones. */
  readonly args?: readonly string[];
}

let sharesBrowser = false;
let sharedBrowser: Promise<string> | undefined;

/**
 * From now on the phones of this file are windows of one browser, unless they ask for arguments: to start one costs a
 * second of processor time.
 */
export function shareBrowser(): void {
  sharesBrowser = true;
}

export class Phone {
  private readonly port: number;
  private readonly browser: DevTools;
  /** Its own storage, where phones share a browser. */
  private readonly context: Json;

  private constructor(port: number, browser: DevTools, context: Json) {
    this.port = port;
    this.browser = browser;
    this.context = context;
  }

  static async start(options: PhoneOptions = {}): Promise<Phone> {
    const isShared = sharesBrowser && options.args === undefined;
    if (isShared) sharedBrowser ??= spawnChromium(['about:blank'], { atItsEnd: atEndOfFile }).then(debuggerOf);
    const url = await (isShared
      ? sharedBrowser
      : spawnChromium([...(options.args ?? []), 'about:blank']).then(debuggerOf));
    const browser = await DevTools.connect(url ?? '');
    // Gone with the connection, which ends with the test.
    const context = isShared ? await browser.send('Target.createBrowserContext', { disposeOnDetach: true }) : {};
    return new Phone(Number(new URL(url ?? '').port), browser, context);
  }

  /** A new tab, as when the code is scanned. */
  async open(url: string, script?: string): Promise<PhonePage> {
    const { targetId } = await this.browser.send('Target.createTarget', { url: 'about:blank', ...this.context });
    const page = await DevTools.connect(`ws://127.0.0.1:${this.port}/devtools/page/${targetId}`);
    return await PhonePage.open(page, url, script);
  }

  /**
   * Gives what the browser's processes take more than now, MiB, of memory that is not shared. Those of now alone: a
   * renderer that Chromium holds in reserve, or one for sound, starts when it likes and takes some 50 MiB, and neither
   * runs the page nor speaks to the network.
   */
  async growth(): Promise<() => number> {
    const { processInfo } = (await this.browser.send('SystemInfo.getProcessInfo')) as unknown as {
      readonly processInfo: readonly { readonly type: string; readonly id: number }[];
    };
    const taken = (): number => processInfo.reduce((sum, { id }) => sum + privateBytes(id), 0) / MIB;
    const before = taken();
    return () => taken() - before;
  }
}

async function debuggerOf(child: ChildProcess): Promise<string> {
  let printed = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    printed += chunk.toString();
  });
  const found = () => /^DevTools listening on (ws:\S+)$/m.exec(printed)?.[1];
  await until(() => found() !== undefined || child.exitCode !== null, START_LIMIT_MS).catch(() => {});
  const url = found();
  if (url === undefined) throw new Error(`Chromium did not start:\n${printed}`);
  return url;
}

function privateBytes(pid: number): number {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1');
  return [...rollup.matchAll(/^Private_\w+:\s+(\d+) kB$/gm)].reduce((sum, match) => sum + Number(match[1]) * 1024, 0);
}

type Json = Readonly<Record<string, unknown>>;

/** One session of the DevTools protocol. */
class DevTools {
  private readonly socket: WebSocket;
  private readonly waiting = new Map<number, (answer: Json) => void>();
  readonly events: { readonly method: string; readonly params: Json }[] = [];
  private count = 0;

  private constructor(socket: WebSocket) {
    this.socket = socket;
    socket.on('error', () => {});
    socket.on('message', (data) => {
      const message = JSON.parse(String(data)) as Json;
      if (typeof message.id === 'number') this.waiting.get(message.id)?.(message);
      else this.events.push({ method: String(message.method), params: message.params as Json });
    });
  }

  static async connect(url: string): Promise<DevTools> {
    const socket = new WebSocket(url, { perMessageDeflate: false });
    const session = new DevTools(socket);
    await once(socket, 'open');
    atEnd(() => socket.terminate());
    return session;
  }

  send(method: string, params: Json = {}): Promise<Json> {
    this.count += 1;
    const id = this.count;
    this.socket.send(JSON.stringify({ id, method, params }));
    return new Promise((resolve, reject) => {
      this.waiting.set(id, (answer) => {
        this.waiting.delete(id);
        if (answer.error === undefined) resolve(answer.result as Json);
        else reject(new Error(`${method}: ${JSON.stringify(answer.error)}`));
      });
    });
  }
}

/** A modern phone's window. */
const WINDOW = { width: 412, height: 839 } as const;
const SCREEN = { deviceScaleFactor: 2, mobile: true } as const;

export class PhonePage {
  private readonly page: DevTools;

  private constructor(page: DevTools) {
    this.page = page;
  }

  /** @param script runs in each document before its own */
  static async open(page: DevTools, url: string, script?: string): Promise<PhonePage> {
    await page.send('Page.enable');
    await page.send('Runtime.enable');
    await page.send('Log.enable');
    await page.send('Emulation.setDeviceMetricsOverride', { ...WINDOW, ...SCREEN });
    if (script !== undefined) await page.send('Page.addScriptToEvaluateOnNewDocument', { source: script });
    await page.send('Page.navigate', { url });
    return new PhonePage(page);
  }

  /** The value of an expression in the page; promises are waited for. */
  async evaluate<T>(expression: string): Promise<T> {
    const answer = await this.page.send('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true });
    if (answer.exceptionDetails !== undefined) throw new Error(JSON.stringify(answer.exceptionDetails));
    return (answer.result as { readonly value: T }).value;
  }

  /** What the page says of itself. */
  state(): Promise<string | undefined> {
    return this.evaluate('document.body?.dataset.state');
  }

  text(id: string): Promise<string> {
    return this.evaluate(`document.getElementById('${id}').textContent`);
  }

  /** Resolves when the page says that it is in this state. */
  async until(state: string, limitMs = 10_000): Promise<void> {
    const deadline = performance.now() + limitMs * PATIENCE;
    let seen: string | undefined;
    while (seen !== state) {
      if (performance.now() > deadline) throw new Error(`the page is ${seen}, not ${state}: ${this.complaints()}`);
      // Between two documents there is none to ask.
      seen = await this.state().catch(() => undefined);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** Resolves when the element has such a text. */
  async untilText(id: string, pattern: RegExp): Promise<void> {
    await this.untilTrue(`${pattern}.test(document.getElementById('${id}').textContent)`);
  }

  /** Resolves when the element is not hidden. */
  async untilShown(id: string): Promise<void> {
    await this.untilTrue(`!document.getElementById('${id}').hidden`);
  }

  private async untilTrue(expression: string, limitMs = 10_000): Promise<void> {
    const deadline = performance.now() + limitMs * PATIENCE;
    while (!(await this.evaluate<boolean>(expression))) {
      if (performance.now() > deadline) throw new Error(`never: ${expression}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** Resolves when the new document is on its way. */
  async reload(): Promise<void> {
    await this.page.send('Page.reload');
  }

  async close(): Promise<void> {
    await this.page.send('Page.close');
  }

  async navigate(url: string): Promise<void> {
    await this.page.send('Page.navigate', { url });
  }

  /** @param offline all but what stands: as a browser has it when the phone loses its network */
  async setOffline(offline: boolean): Promise<void> {
    await this.page.send('Network.enable');
    const throughput = { latency: 0, downloadThroughput: -1, uploadThroughput: -1 };
    await this.page.send('Network.emulateNetworkConditions', { offline, ...throughput });
    await this.page.send('Network.disable');
  }

  /** In front of all others, in the system's light or dark, and with the system's wish for no movement. */
  async show(scheme: 'light' | 'dark', motion: 'no-preference' | 'reduce' = 'no-preference'): Promise<void> {
    await this.page.send('Page.bringToFront');
    await this.page.send('Emulation.setEmulatedMedia', {
      features: [
        { name: 'prefers-color-scheme', value: scheme },
        { name: 'prefers-reduced-motion', value: motion },
      ],
    });
  }

  /** CSS pixels. */
  async resize(width: number, height: number): Promise<void> {
    await this.page.send('Emulation.setDeviceMetricsOverride', { width, height, ...SCREEN });
  }

  /** A PNG. */
  async picture(): Promise<Buffer> {
    const { data } = await this.page.send('Page.captureScreenshot', { format: 'png' });
    return Buffer.from(String(data), 'base64');
  }

  /** Exceptions, and what the page's policy stopped. */
  complaints(): string[] {
    return this.page.events.flatMap(({ method, params }) => {
      const text = JSON.stringify(params);
      const isOne =
        method === 'Runtime.exceptionThrown' || (method === 'Log.entryAdded' && /Security Policy/.test(text));
      return isOne ? [text] : [];
    });
  }
}
