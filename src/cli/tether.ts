/** `wstun client --tether`: where the phone finds the laptop, and what the person at the laptop gets to see of it. */
import { readFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import type { Readable } from 'node:stream';
import { describeFault, WstunError } from '../errors.ts';
import { lanAddresses } from '../tether/lan-address.ts';
import { readPage } from '../tether/page-file.ts';
import { createTetherServer, type TetherEvent, type TetherServer } from '../tether/tether-server.ts';
import { formatHostPort, type HostPort } from './options.ts';
import type { Output } from './output.ts';
import { drawQr } from './qr.ts';

const DEFAULT_PORT = 8808;
const ANY_ADDRESS: ReadonlySet<string> = new Set(['0.0.0.0', '::', '*']);

export interface RunningTether extends Pick<TetherServer, 'dial' | 'pages' | 'close'> {
  /** Each line, of whatever content, shows a new code: for one more phone. */
  takeCommands(lines: Readable): void;
}

/**
 * @param onJoined there is one more page to be asked
 * @throws WstunError no-lan-address, cannot-listen
 */
export async function startTether(
  wanted: HostPort | true,
  relayUrls: readonly string[],
  output: Output,
  onJoined: () => void,
): Promise<RunningTether> {
  const server = createTetherServer({
    page: readPage(),
    relayUrls,
    onEvent: (event) => {
      report(event, output);
      if (event.type === 'paired') onJoined();
    },
    logger: output.logger,
  });
  await server.serve(placeOf(wanted));
  const dial: RunningTether['dial'] = (makeUrl, signal) => server.dial(makeUrl, signal);
  return {
    dial,
    get pages() {
      return server.pages;
    },
    close: () => server.close(),
    takeCommands: (lines) => {
      if ('isTTY' in lines && lines.isTTY === true && !isInForeground()) return;
      lines.on('error', () => {}).on('data', () => server.showCode());
      if ('unref' in lines && typeof lines.unref === 'function') lines.unref();
    },
  };
}

/** A job in the background that reads from its terminal is stopped (SIGTTIN), tunnel and all. */
function isInForeground(): boolean {
  try {
    // Behind the program's name, which may hold anything: state, parent, group, session, terminal, the terminal's group.
    const fields = readFileSync('/proc/self/stat', 'latin1').replace(/^.*\)/s, '').trim().split(' ');
    return fields[2] === fields[5];
  } catch {
    return true;
  }
}

function placeOf(wanted: HostPort | true): HostPort & { readonly publicHost: string } {
  const { host, port } = wanted === true ? { host: undefined, port: DEFAULT_PORT } : wanted;
  if (host !== undefined && !ANY_ADDRESS.has(host)) return { host, port, publicHost: host };
  const [best] = lanAddresses(networkInterfaces());
  if (best === undefined) throw new WstunError('no-lan-address');
  // One address, not all: whoever is on another network has no business with the page.
  return { host: host ?? best, port, publicHost: best };
}

function report(event: TetherEvent, output: Output): void {
  const { type, ...rest } = event;
  output.event({ event: `tether-${type}`, ...rest });
  output.say(sentenceOf(event));
}

function sentenceOf(event: TetherEvent): string {
  if (event.type === 'code') return describeCode(event.url);
  if (event.type === 'address') return `wstun: phones reach this machine at ${formatHostPort(event)} now`;
  if (event.type === 'refused') {
    return `wstun: ${event.remote} knocked without a code that holds (${event.guesses} so far)`;
  }
  if (event.type === 'paired') {
    return event.again
      ? `wstun: the phone at ${event.remote} is back`
      : `wstun: a phone is connected, from ${event.remote}. Enter shows a code for another one.`;
  }
  if (event.type === 'offline') return `wstun: ${describeFault('phone-offline')}`;
  if (event.left > 0) return `wstun: the phone at ${event.remote} is gone; ${event.left} left`;
  return `wstun: the phone at ${event.remote} is gone. Open its page again, or press Enter for a new code.`;
}

function describeCode(url: string): string {
  const colours = process.env.NO_COLOR === undefined && process.stderr.isTTY === true;
  return `
Scan this with a phone on the same network. It works once, for five minutes.

${drawQr(url, colours)}

  ${url}
`;
}
