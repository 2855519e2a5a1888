/** A connection to a target by the proxy of a client on this machine: by HTTP, which says why there is none. */
import { connect, type Socket } from 'node:net';
import { type Clock, systemClock } from '../clock.ts';
import { FAULTS, type FaultName, WstunError } from '../errors.ts';
import { formatHostPort, type HostPort } from '../net/host-port.ts';

/** The proxy waits 10 s for a session and 20 s for the exit. */
const ANSWER_LIMIT_MS = 40_000;
/** What an answer may have before its empty line, and behind it a sentence. */
const MAX_ANSWER_BYTES = 16 * 1024;
const HEAD_END = '\r\n\r\n';

export interface ThroughProxy {
  readonly proxy: HostPort;
  readonly credentials: { readonly user: string; readonly pass: string } | undefined;
  readonly target: HostPort;
  readonly signal: AbortSignal;
  readonly clock?: Clock;
}

/**
 * Paused; what the target has sent already is in it.
 * @throws WstunError what the proxy says, proxy-absent, dial-timed-out, dial-cancelled
 */
export async function openThroughProxy(options: ThroughProxy): Promise<Socket> {
  const { proxy, signal, clock = systemClock } = options;
  const socket = connect({ ...proxy, allowHalfOpen: true, noDelay: true });
  socket.on('error', () => {});
  let fault: FaultName = 'proxy-absent';
  const abort = (name: FaultName) => (): void => {
    fault = name;
    socket.destroy();
  };
  const limit = clock.setTimeout(abort('dial-timed-out'), ANSWER_LIMIT_MS);
  const cancel = abort('dial-cancelled');
  signal.addEventListener('abort', cancel, { once: true });
  try {
    socket.write(requestOf(options));
    const answer = await readAnswer(socket);
    if (isOpen(answer)) return socket;
    throw new WstunError(...refusalOf(answer, fault, proxy));
  } catch (error) {
    socket.destroy();
    throw error;
  } finally {
    clock.clearTimeout(limit);
    signal.removeEventListener('abort', cancel);
  }
}

function requestOf({ target, credentials }: ThroughProxy): string {
  const place = formatHostPort(target);
  const basic = credentials && Buffer.from(`${credentials.user}:${credentials.pass}`).toString('base64');
  const fields = [`Host: ${place}`, ...(basic === undefined ? [] : [`Proxy-Authorization: Basic ${basic}`])];
  return `CONNECT ${place} HTTP/1.1\r\n${fields.join('\r\n')}${HEAD_END}`;
}

/** What came until it was clear, or the end. What is behind an answer that grants stays in the socket. */
function readAnswer(socket: Socket): Promise<string> {
  return new Promise((resolve) => {
    let text = '';
    const settle = (): void => {
      socket.off('data', receive).off('end', settle).off('close', settle).pause();
      resolve(text);
    };
    const receive = (bytes: Buffer): void => {
      text += bytes.toString('latin1');
      const isRefused = faultIn(text) !== undefined || text.length > MAX_ANSWER_BYTES;
      if (!isOpen(text) && !isRefused) return;
      settle();
      const rest = text.slice(text.indexOf(HEAD_END) + HEAD_END.length);
      if (isOpen(text) && rest !== '') socket.unshift(Buffer.from(rest, 'latin1'));
    };
    socket.on('data', receive).on('end', settle).on('close', settle);
  });
}

function isOpen(text: string): boolean {
  return /^HTTP\/1\.\d 2/.test(text) && text.includes(HEAD_END);
}

/** The sentence of a refusal ends with its code. */
function faultIn(text: string): FaultName | undefined {
  const [, code] = /\((WSTUN-E\d+)\)\s*$/.exec(text) ?? [];
  const [name] = Object.entries(FAULTS).find(([, fault]) => fault.code === code) ?? [];
  return name as FaultName | undefined;
}

/** @param fault of a connection without an answer */
function refusalOf(text: string, fault: FaultName, proxy: HostPort): [FaultName, string?] {
  const told = faultIn(text);
  if (told !== undefined) return [told];
  const isSilent = text === '' && fault === 'proxy-absent';
  return isSilent || text !== '' ? [text === '' ? fault : 'proxy-foreign', formatHostPort(proxy)] : [fault];
}
