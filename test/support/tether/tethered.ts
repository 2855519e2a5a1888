/** A relay, a client that is tethered to a phone, and the phone's page that carries it. */
import { expect } from 'vitest';
import type { WstunProcess } from '../programs/wstun-process.ts';
import { invite, type RelayOptions, type RunningRelay, spawnClient, startRelay } from '../programs/wstun-stack.ts';
import { CarryingPage } from './carrying-page.ts';
import { Phone, type PhoneOptions, type PhonePage } from './phone.ts';

export interface Tethered {
  readonly relay: RunningRelay;
  readonly client: WstunProcess;
  /** Of its proxy. */
  readonly port: number;
  readonly phone: Phone;
  readonly page: PhonePage;
}

export interface TetheredOptions {
  readonly relay?: RelayOptions;
  /** Where the page finds the relay; default: where it is. */
  readonly relayUrl?: (relay: RunningRelay) => string | Promise<string>;
  readonly phone?: PhoneOptions;
  /** Runs in the page before its own script. */
  readonly script?: string;
  readonly args?: readonly string[];
}

/** Only the phone carries: what is reachable on one machine would be reached directly else. */
export const TETHER_ARGS = ['--tether', '127.0.0.1:0', '--no-direct'] as const;

export async function startTethered(options: TetheredOptions = {}): Promise<Tethered> {
  const relay = await startRelay(options.relay);
  const url = await options.relayUrl?.(relay);
  const secret = await invite(relay, 'laptop', { allow: ['*'], ...(url === undefined ? {} : { url }) });
  const args = [...TETHER_ARGS, ...(options.args ?? [])];
  const client = spawnClient(secret, { args });
  const phone = await Phone.start(options.phone);
  const page = await phone.open(await nextCode(client), options.script);
  const port = await proxyPort(client);
  await page.until('active');
  expect(page.complaints()).toEqual([]);
  return { relay, client, port, phone, page };
}

export interface Scripted extends Omit<Tethered, 'phone' | 'page'> {
  readonly page: CarryingPage;
}

/** The same with a page that needs no browser. */
export async function startScripted(options: RelayOptions = {}): Promise<Scripted> {
  const relay = await startRelay(options);
  const client = spawnClient(await invite(relay, 'laptop', { allow: ['*'] }), { args: TETHER_ARGS });
  const page = await CarryingPage.join(await nextCode(client));
  return { relay, client, port: await proxyPort(client), page };
}

/** Of a client whose first session stands, or soon will. */
export async function proxyPort(client: WstunProcess, limitMs?: number): Promise<number> {
  const { listen } = await client.event('ready', limitMs);
  return Number(String(listen).replace(/^.*:/, ''));
}

/** The URL of the next code that the client shows. */
export async function nextCode(client: WstunProcess): Promise<string> {
  return (await client.event('tether-code')).url as string;
}
