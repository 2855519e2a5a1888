/** One request and answer of CONNECT on a connected socket. It knows no credentials but the header that it is given. */
import type { Socket } from 'node:net';
import { AbortableWait } from '../../async/abortable.ts';
import type { Clock } from '../../clock.ts';
import { WstunError } from '../../errors.ts';
import { type AnswerResult, ConnectAnswerReader } from './connect-answer.ts';

/** For the head of an answer and the body of a refusal, ms: the proxy resolves a name and connects meanwhile. */
const ANSWER_LIMIT_MS = 10_000;

export interface ConnectRequest {
  /** `host:port` */
  readonly authority: string;
  /** The value of Proxy-Authorization. */
  readonly authorization?: string | undefined;
}

/** Leaves the socket paused and without listeners of its own. @throws WstunError proxy-slow, dial-cancelled */
export async function askForTunnel(
  socket: Socket,
  request: ConnectRequest,
  { clock, signal, proxy }: { readonly clock: Clock; readonly signal: AbortSignal; readonly proxy: string },
): Promise<AnswerResult> {
  // It ended while a command ran: no event would come any more.
  if (socket.destroyed || socket.readableEnded) return { fault: 'cut-short' };
  const reader = new ConnectAnswerReader();
  const wait = new AbortableWait<AnswerResult>({
    ...{ clock, signal, limitMs: ANSWER_LIMIT_MS },
    onExpired: (expired) => expired.reject(new WstunError('proxy-slow', `${proxy}: no answer to CONNECT within 10 s`)),
  });
  const onData = (chunk: Buffer): void => {
    const result = reader.push(chunk);
    if (result === undefined) return;
    // In the same turn: what comes next is for the tunnel.
    socket.pause();
    wait.resolve(result);
  };
  const onEnd = (): void => wait.resolve(reader.end());
  socket.on('data', onData).once('end', onEnd).once('close', onEnd).once('error', onEnd);
  socket.write(requestText(request));
  socket.resume();
  try {
    return await wait.promise;
  } finally {
    socket.off('data', onData).off('end', onEnd).off('close', onEnd).off('error', onEnd);
    socket.pause();
  }
}

/** `Proxy-Connection`: some proxies keep the connection only with it, which NTLM needs. */
function requestText({ authority, authorization }: ConnectRequest): string {
  const lines = [`CONNECT ${authority} HTTP/1.1`, `Host: ${authority}`, 'Proxy-Connection: Keep-Alive'];
  if (authorization !== undefined) lines.push(`Proxy-Authorization: ${authorization}`);
  return `${lines.join('\r\n')}\r\n\r\n`;
}
