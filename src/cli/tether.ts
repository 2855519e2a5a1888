/** `wstun client --tether`: where the phone finds the laptop, and what the person at the laptop gets to see of it. */
import { readFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import type { Readable } from 'node:stream';
import { describeFault, WstunError } from '../errors.ts';
import { formatHostPort, type HostPort } from '../net/host-port.ts';
import { AddressFollower } from '../tether/laptop/address-follower.ts';
import { lanAddresses } from '../tether/laptop/lan-address.ts';
import { readPage } from '../tether/laptop/page-file.ts';
import { createTetherServer, type TetherEvent, type TetherServer } from '../tether/laptop/tether-server.ts';
import type { Output } from './output.ts';
import { drawQr } from './qr.ts';

const DEFAULT_PORT = 8808;
const ANY_ADDRESS: ReadonlySet<string> = new Set(['0.0.0.0', '::', '*']);

export interface RunningTether extends Pick<TetherServer, 'dial' | 'pages' | 'close'> {
  /** The network may have changed: without a host of its own the page goes where the machine is. */
  look(): void;
  /** Each line, of whatever content, shows a new code: for one more phone. */
  takeCommands(lines: Readable): void;
}

/** What says where a tether is to be found. */
type Place = Pick<AddressFollower, 'look' | 'showCode' | 'close'>;

/**
 * @param onJoined there is one more page to be asked
 * @throws WstunError cannot-listen
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
  const place = await startAt(wanted === true ? { host: undefined, port: DEFAULT_PORT } : wanted, server, output);
  const dial: RunningTether['dial'] = (makeUrl, signal) => server.dial(makeUrl, signal);
  return {
    dial,
    get pages() {
      return server.pages;
    },
    look: () => place.look(),
    close: () => {
      place.close();
      server.close();
    },
    takeCommands: (lines) => {
      if ('isTTY' in lines && lines.isTTY === true && !isInForeground()) return;
      lines.on('error', () => {}).on('data', () => place.showCode());
      if ('unref' in lines && typeof lines.unref === 'function') lines.unref();
    },
  };
}

/** @throws WstunError cannot-listen */
async function startAt(
  { host, port }: { readonly host: string | undefined; readonly port: number },
  server: TetherServer,
  output: Output,
): Promise<Place> {
  if (host !== undefined && !ANY_ADDRESS.has(host)) {
    await server.serve({ host, port, publicHost: host });
    return { look: () => {}, showCode: () => server.showCode(), close: () => {} };
  }
  const follower = new AddressFollower({
    ...{ server, host, port },
    addresses: () => lanAddresses(networkInterfaces()),
    onNoAddress: (why) => reportFault('no-address', new WstunError(why), output),
    onRefused: (error) => reportFault('cannot-listen', error, output),
  });
  await follower.start();
  return follower;
}

/** A job in the background that reads from its terminal is stopped (SIGTTIN), tunnel and all. */
function isInForeground(): boolean {
  try {
    // Behind the program's name, which may hold anything: state, parent, group, session, terminal, the terminal's
    // group.
    const fields = readFileSync('/proc/self/stat', 'latin1').replace(/^.*\)/s, '').trim().split(' ');
    return fields[2] === fields[5];
  } catch {
    return true;
  }
}

function report(event: TetherEvent, output: Output): void {
  const { type, ...rest } = event;
  output.event({ event: `tether-${type}`, ...rest });
  output.say(sentenceOf(event));
}

/** Of what ends nothing: it is tried again. */
function reportFault(event: 'no-address' | 'cannot-listen', { code, message }: WstunError, output: Output): void {
  output.event({ event: `tether-${event}`, code, message });
  const again = event === 'cannot-listen' ? ' wstun tries again when the network changes or when you press Enter.' : '';
  output.say(`wstun: ${message}${again}`);
}

function sentenceOf(event: TetherEvent): string {
  if (event.type === 'code') return describeCode(event.url);
  if (event.type === 'address') {
    const { again } = event;
    return `wstun: phones reach this machine at ${formatHostPort(event)} ${again ? 'again' : 'now; scan the new code'}`;
  }
  if (event.type === 'refused') {
    return `wstun: ${event.remote} tried to connect without a valid code (${event.guesses} so far)`;
  }
  if (event.type === 'paired') {
    return event.again
      ? `wstun: the phone at ${event.remote} has reconnected`
      : `wstun: the phone at ${event.remote} is connected. Press Enter for a code for another phone.`;
  }
  if (event.type === 'offline') return `wstun: ${describeFault('phone-offline')}`;
  if (event.left > 0) return `wstun: the phone at ${event.remote} has disconnected; ${event.left} left`;
  return `wstun: the phone at ${event.remote} has disconnected. Open its page again, or press Enter for a new code.`;
}

function describeCode(url: string): string {
  const colours = process.env.NO_COLOR === undefined && process.stderr.isTTY === true;
  return `
Scan this code with a phone on the same network. It works once, within five minutes.

${drawQr(url, colours)}

  ${url}
`;
}
