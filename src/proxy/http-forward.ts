/**
 * One request in absolute-form to its target and the answer back, over a tunnel stream. Bodies stream both ways under
 * back-pressure. An answer that is cut short ends the program's connection with a reset: some answers end where the connection
 * does, and would look whole.
 */
import { type ClientRequest, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import { WstunError } from '../errors.ts';
import { noticeResets, resetSocket } from '../tunnel/socket-reset.ts';
import { type HttpRefusal, refusalOf } from './http-replies.ts';
import { answerHeaders, type ForwardRequest, hasUnknownCoding } from './http-request.ts';
import type { TunnelAgent, TunnelRequestOptions } from './tunnel-agent.ts';

/** Header bytes of a request or an answer: four times node:http's own limit, for large cookies; squid's is the same. */
export const MAX_HEADER_BYTES = 64 * 1024;

/** By default Node drops those beyond 1,000 and says nothing: among them may be the length of the body. Their bytes are bounded. */
export const ANY_NUMBER_OF_HEADERS = 0;

/** Without side effects and without a body, so sending it again is harmless (RFC 9110 §9.2.1). */
const REPEATABLE: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS']);

export interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly agent: TunnelAgent;
  /** Fires when the program is gone. */
  readonly signal: AbortSignal;
}

/** Resolves when the answer is with the program, or it is gone. */
export async function forward(wanted: ForwardRequest, exchange: Exchange): Promise<void> {
  const { request, response, agent, signal } = exchange;
  const stopNoticing = noticeResets(request.socket);
  try {
    const { upstream, answer } = await answerTo(wanted, exchange);
    checkCoding(answer);
    await relayAnswer(answer, exchange);
    // Answered early: the rest of the body goes nowhere, so the stream would wait for it as long as the program stays.
    if (wanted.hasBody && !upstream.writableFinished) upstream.destroy();
  } catch (error) {
    // Whatever stream was at fault must not be used again.
    agent.destroy();
    if (response.headersSent) resetSocket(request.socket);
    else await answerRefusal(refusalOfError(error), response, signal);
  } finally {
    stopNoticing();
  }
  // What is left of its body stands before the next request.
  request.unpipe();
  request.resume();
}

/** Answers on a connection that goes on. */
export async function answerRefusal(
  refusal: HttpRefusal,
  response: ServerResponse,
  signal: AbortSignal,
): Promise<void> {
  const done = untilSent(response, signal);
  response.writeHead(refusal.status, [...refusal.headers]).end(refusal.body);
  await done;
}

export function refusalOfError(error: unknown): HttpRefusal {
  if (error instanceof WstunError) return refusalOf(error.fault, error.detail);
  return refusalOf('proxy-bad-answer', error instanceof Error ? error.message : '');
}

/** Throws what the program is to be told. */
export function checkCoding(answer: IncomingMessage): void {
  if (hasUnknownCoding(answer.rawHeaders)) throw new WstunError('proxy-bad-answer', 'unknown transfer coding');
}

/** Without a time limit: how long a slow target is waited for is the program's decision. */
export function sendRequest(wanted: ForwardRequest, agent: TunnelAgent, signal: AbortSignal): ClientRequest {
  const options: TunnelRequestOptions = {
    agent,
    signal,
    target: wanted.target,
    host: wanted.target.host,
    port: wanted.target.port,
    method: wanted.method,
    path: wanted.path,
    headers: wanted.headers,
    maxHeaderSize: MAX_HEADER_BYTES,
  };
  const upstream = httpRequest(options).on('error', () => {});
  upstream.maxHeadersCount = ANY_NUMBER_OF_HEADERS;
  return upstream;
}

/** A kept stream may have been closed by the target just as the request went out: then, once, a new one is tried. */
async function answerTo(
  wanted: ForwardRequest,
  { request, response, agent, signal }: Exchange,
): Promise<{ upstream: ClientRequest; answer: IncomingMessage }> {
  for (;;) {
    const upstream = sendRequest(wanted, agent, signal);
    upstream.on('continue', () => response.writeContinue());
    const answer = answerOf(upstream);
    if (wanted.hasBody) request.pipe(upstream);
    else upstream.end();
    try {
      return { upstream, answer: await answer };
    } catch (error) {
      request.unpipe(upstream);
      const again = upstream.reusedSocket && !wanted.hasBody && REPEATABLE.has(wanted.method);
      if (!again || signal.aborted) throw error;
    }
  }
}

/** Settles whatever comes: a turn that never ended would hold the program's connection, and with it the proxy's end. */
function answerOf(upstream: ClientRequest): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    upstream.once('response', resolve);
    upstream.once('error', reject);
    // Nobody asked for a 101. Without a listener Node destroys the stream and counts the request as answered: no error follows.
    upstream.once('upgrade', (_, stream) => {
      stream.destroy();
      reject(new WstunError('proxy-bad-answer', 'it switches protocols unasked'));
    });
    upstream.once('close', () => reject(new WstunError('proxy-bad-answer')));
  });
}

async function relayAnswer(answer: IncomingMessage, { request, response, signal }: Exchange): Promise<void> {
  // Node ends an answer without a length when its connection fails, as it does when that ends: only the stream itself knows.
  const stream = answer.socket;
  const cut = (): void => resetSocket(request.socket);
  const done = untilSent(response, signal);
  answer.on('error', cut);
  answer.once('end', () => (stream.errored ? cut() : response.end()));
  answer.once('close', () => {
    if (!answer.readableEnded) cut();
  });
  response.sendDate = false;
  response.writeHead(answer.statusCode ?? 502, answer.statusMessage ?? '', answerHeaders(answer.rawHeaders));
  response.flushHeaders();
  answer.pipe(response, { end: false });
  await done;
}

/** An answer that waits behind another on its connection never hears of the connection's end: hence the signal. */
function untilSent(response: ServerResponse, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const finish = (): void => {
      response.off('close', finish);
      signal.removeEventListener('abort', finish);
      resolve();
    };
    response.once('close', finish);
    signal.addEventListener('abort', finish, { once: true });
  });
}
