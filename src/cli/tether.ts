/** `wstun client --tether`: what it prints on the laptop, and the Enter key. */
import type { Readable } from 'node:stream';
import type { TetherNotice } from '../app/tether.ts';
import { describeFault, type WstunError } from '../errors.ts';
import { formatHostPort } from '../net/host-port.ts';
import { isInForeground } from './foreground.ts';
import type { Output } from './output.ts';
import { drawQr } from './qr.ts';

/** Whatever its content. In the background, lines are not read: such a job would be stopped (SIGTTIN). */
export function onEachLine(lines: Readable, onLine: () => void): void {
  if ('isTTY' in lines && lines.isTTY === true && !isInForeground()) return;
  lines.on('error', () => {}).on('data', onLine);
  if ('unref' in lines && typeof lines.unref === 'function') lines.unref();
}

export class TetherReport {
  /** A code is shown, and no phone has joined since: nothing else may push it off the screen. */
  awaitsPhone = false;

  constructor(private readonly output: Output) {}

  handle(notice: TetherNotice): void {
    const { output } = this;
    if ('error' in notice) return reportFault(notice.type, notice.error, output);
    const { type, ...rest } = notice;
    output.event({ event: `tether-${type}`, ...rest });
    if (notice.type === 'code') {
      this.awaitsPhone = true;
      return showCode(notice.url, output);
    }
    if (notice.type === 'paired') this.awaitsPhone = false;
    output.say(sentenceOf(notice));
  }
}

/** A fault that ends nothing: the tether tries again. */
function reportFault(event: 'no-address' | 'cannot-listen', { code, message }: WstunError, output: Output): void {
  output.event({ event: `tether-${event}`, code, message });
  const again = event === 'cannot-listen' ? ' wstun tries again when the network changes or when you press Enter.' : '';
  output.say(`${message}${again}`, 'warn');
}

function sentenceOf(event: Exclude<TetherNotice, { error: WstunError } | { type: 'code' }>): string {
  if (event.type === 'address') {
    const { again } = event;
    return `phones reach this machine at ${formatHostPort(event)} ${again ? 'again' : 'now; scan the new code'}`;
  }
  if (event.type === 'refused')
    return `${event.remote} tried to connect without a valid code (${event.guesses} so far)`;
  if (event.type === 'paired')
    return event.again
      ? `the phone at ${event.remote} has reconnected`
      : `the phone at ${event.remote} is connected. Press Enter for a code for another phone.`;
  if (event.type === 'offline') return `${describeFault('phone-offline')}`;
  if (event.left > 0) return `the phone at ${event.remote} has disconnected; ${event.left} left`;
  return `the phone at ${event.remote} has disconnected. Open its page again, or press Enter for a new code.`;
}

/** The address is above the code, which is then complete on a screen of 24 lines. */
function showCode(url: string, output: Output): void {
  output.show(`Scan this with a phone on the same network. It works once, for five minutes.\n  ${url}`, {
    instead: 'a phone can join; --json prints the address',
    isNeeded: true,
  });
  const code = drawQr(url, output.hasColours);
  if (code.columns <= output.columns) output.draw(code.text);
  else output.say('the terminal is too narrow for the code; open the address on the phone', 'warn');
}
