/** The built page in each of its states, in Chromium: with a laptop in this process, and as little else as it takes. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { MessageLink } from '../../../src/transport/message-link.ts';
import { closedPort, tcpServer } from '../net/tcp.ts';
import { atEnd } from '../scope.ts';
import { type Laptop, type LaptopOptions, startLaptop } from './page-link.ts';
import { Phone, type PhonePage } from './phone.ts';

/** Drops the timers that would end a state while a test looks at it: of a quiet laptop, and of a link that opens. */
const KEEP_STATE = `{
  const original = window.setTimeout;
  window.setTimeout = (callback, ms, ...rest) => (ms === 5000 || ms === 8000 ? 0 : original(callback, ms, ...rest));
}`;
const NO_LAPTOP = 'window.WebSocket = class { send() {} close() {} };';
/** In a tab of the laptop's own browser. */
const IN_TAB = `sessionStorage.setItem('wstun-view', 'tab');`;
/** As on a phone, where the page comes over http: without the API that keeps the screen on. */
const NO_LOCK = 'delete Navigator.prototype.wakeLock;';
const NO_VIDEO = `${NO_LOCK} HTMLMediaElement.prototype.play = () => Promise.reject(new Error());`;

interface Opened {
  readonly page: PhonePage;
  readonly laptop: Laptop;
  readonly phone: Phone;
}

async function opened(script = KEEP_STATE, options: LaptopOptions = {}): Promise<Opened> {
  const laptop = await startLaptop(options);
  const phone = await Phone.start();
  return { laptop, phone, page: await phone.open(laptop.code(), script) };
}

async function joined(script = KEEP_STATE, options: LaptopOptions = {}): Promise<Opened> {
  const all = await opened(script, options);
  await all.page.until('idle');
  return all;
}

/** Asks for one link. What becomes of it is seen on the page. */
function ask({ server, relayUrl }: Laptop): Promise<MessageLink> {
  const link = server.dial(() => `${relayUrl}/ticket`, AbortSignal.timeout(10_000));
  link.catch(() => {});
  return link;
}

/** The first attempt fails, and there is no second one. */
async function failing(relayPort: number, state: string): Promise<PhonePage> {
  const { laptop, page } = await joined(KEEP_STATE, { relayPort });
  const over = new AbortController();
  laptop.server.dial(() => `${laptop.relayUrl}/ticket`, over.signal).catch(() => {});
  await page.until(state);
  over.abort();
  return page;
}

/** That carries a link; `down` sends so many bytes through it. */
export async function carrying(): Promise<{ readonly page: PhonePage; down(bytes: number): void }> {
  const { laptop, page } = await joined();
  const accepted = laptop.relay.nextLink();
  const near = await ask(laptop);
  near.setHandler({ handleMessage: () => {}, handleDrain: () => {}, handleClose: () => {} });
  const { link } = await accepted;
  await page.until('active');
  return {
    page,
    down: (bytes) => {
      for (let left = bytes; left > 0; left -= 16_000) link.send([new Uint8Array(Math.min(left, 16_000))]);
    },
  };
}

async function notFound(): Promise<number> {
  const server = createServer((_request, response) => response.writeHead(404).end());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  atEnd(() => void server.close().closeAllConnections());
  return (server.address() as AddressInfo).port;
}

/** By what a person sees. The page of each is in the state of `state`. */
export const PAGE_STATES: readonly {
  readonly name: string;
  readonly state: string;
  readonly open: () => Promise<PhonePage>;
}[] = [
  {
    name: 'opened without the code',
    state: 'bare',
    open: async () => {
      const laptop = await startLaptop();
      return await (await Phone.start()).open(laptop.code().replace(/#.*/, ''));
    },
  },
  { name: 'looking for the laptop', state: 'joining', open: async () => (await opened(NO_LAPTOP)).page },
  { name: 'waiting', state: 'idle', open: async () => (await joined(KEEP_STATE + NO_LOCK)).page },
  { name: 'not needed', state: 'direct', open: async () => (await opened('')).page },
  {
    name: 'standing by',
    state: 'standby',
    open: async () => {
      const { laptop, phone, page } = await joined();
      laptop.server.showCode();
      await (await phone.open(laptop.code(), KEEP_STATE)).until('idle');
      await ask(laptop);
      return page;
    },
  },
  {
    name: 'opening a link',
    state: 'opening',
    open: async () => {
      const { laptop, page } = await joined(KEEP_STATE, { relayPort: await tcpServer(() => {}) });
      void ask(laptop);
      return page;
    },
  },
  {
    name: 'carrying',
    state: 'active',
    open: async () => {
      const { page, down } = await carrying();
      down(20_000_000);
      await page.untilText('used', /MB/);
      return page;
    },
  },
  { name: 'without a way to the relay', state: 'offline', open: async () => failing(await closedPort(), 'offline') },
  { name: 'rejected', state: 'refused', open: async () => failing(await notFound(), 'refused') },
  {
    name: 'without its laptop',
    state: 'gone',
    open: async () => {
      const { laptop, page } = await joined();
      laptop.server.close();
      return page;
    },
  },
  {
    name: 'with a used code',
    state: 'expired',
    open: async () => {
      const { laptop, phone } = await joined();
      return await phone.open(laptop.code());
    },
  },
  {
    name: 'open in another tab',
    state: 'replaced',
    open: async () => {
      const { laptop, phone, page } = await joined();
      const secret = await page.evaluate<string>(`sessionStorage.getItem('wstun-tether')`);
      const copied = `sessionStorage.setItem('wstun-tether', ${JSON.stringify(secret)});`;
      await phone.open(laptop.code().replace(/#.*/, ''), copied);
      return page;
    },
  },
  {
    name: 'before a tap',
    state: 'idle',
    open: async () => {
      const { page } = await joined(KEEP_STATE + NO_VIDEO);
      await page.untilShown('keep-awake');
      return page;
    },
  },
  {
    name: 'where the screen cannot be kept on',
    state: 'idle',
    open: async () => {
      const { page } = await joined(KEEP_STATE + NO_VIDEO);
      await page.untilShown('keep-awake');
      await page.evaluate(`document.getElementById('keep-awake').click()`);
      await page.untilText('awake', /cannot/);
      return page;
    },
  },
  { name: 'in a tab on the laptop', state: 'idle', open: async () => (await joined(KEEP_STATE + IN_TAB)).page },
];
