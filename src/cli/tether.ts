/** `wstun client --tether`: what it prints on the laptop, and the Enter key. */
import { readFileSync } from 'node:fs';
import type { Readable } from 'node:stream';
import type { TetherNotice } from '../app/tether.ts';
import { describeFault, type WstunError } from '../errors.ts';
import { formatHostPort } from '../net/host-port.ts';
import { attempt } from './attempt.ts';
import type { Output } from './output.ts';
import { drawQr } from './qr.ts';

/** Whatever its content. In the background, lines are not read. */
export function onEachLine(lines: Readable, onLine: () => void): void {
  if ('isTTY' in lines && lines.isTTY === true && !isInForeground()) return;
  lines.on('error', () => {}).on('data', onLine);
  if ('unref' in lines && typeof lines.unref === 'function') lines.unref();
}

/** A background job that reads from its terminal is stopped (SIGTTIN), and its tunnel with it. */
export function isInForeground(): boolean {
  const stat = attempt(() => readFileSync('/proc/self/stat', 'latin1'), '');
  // After the program's name, which may contain anything: state, parent, group, session, terminal, its group.
  const fields = stat.replace(/^.*\)/s, '').trim().split(' ');
  return fields[2] === fields[5];
}

export function reportTether(notice: TetherNotice, output: Output): void {
  if ('error' in notice) return reportFault(notice.type, notice.error, output);
  const { type, ...rest } = notice;
  output.event({ event: `tether-${type}`, ...rest });
  output.say(sentenceOf(notice));
}

/** A fault that ends nothing: the tether tries again. */
function reportFault(event: 'no-address' | 'cannot-listen', { code, message }: WstunError, output: Output): void {
  output.event({ event: `tether-${event}`, code, message });
  const again = event === 'cannot-listen' ? ' wstun tries again when the network changes or when you press Enter.' : '';
  output.say(`wstun: ${message}${again}`);
}

function sentenceOf(event: Exclude<TetherNotice, { error: WstunError }>): string {
  if (event.type === 'code') return describeCode(event.url);
  if (event.type === 'address') {
    const { again } = event;
    return `wstun: phones reach this machine at ${formatHostPort(event)} ${again ? 'again' : 'now; scan the new code'}`;
  }
  if (event.type === 'refused')
    return `wstun: ${event.remote} tried to connect without a valid code (${event.guesses} so far)`;
  if (event.type === 'paired')
    return event.again
      ? `wstun: the phone at ${event.remote} has reconnected`
      : `wstun: the phone at ${event.remote} is connected. Press Enter for a code for another phone.`;
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
