/**
 * A request in absolute-form that asks for another protocol (`ws://…` without CONNECT): sent to the target, and if that agrees,
 * the two connections are joined. If not, its answer is passed on, and the connection ends with it: node:http has let go of the
 * socket by then, and a next request might be meant for another target.
 */
import type { ClientRequest, IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { pipeline } from 'node:stream/promises';
import { resetSocket } from '../tunnel/socket-reset.ts';
import type { Target, TunnelStream } from '../tunnel/stream.ts';
import { carry, endWith, type ProxyContext } from './connection.ts';
import { checkCoding, refusalOfError, sendRequest } from './http-forward.ts';
import { serialiseHead, serialiseRefusal } from './http-replies.ts';
import { answerHeaders, type ForwardRequest } from './http-request.ts';
import type { TunnelAgent } from './tunnel-agent.ts';

type Answer = { readonly message: IncomingMessage; readonly switched?: { stream: TunnelStream; head: Buffer } };

/** Resolves when the socket is closed. */
export async function upgrade(
  socket: Socket,
  wanted: ForwardRequest,
  agent: TunnelAgent,
  signal: AbortSignal,
  context: ProxyContext,
): Promise<void> {
  const { lingerMs } = context.limits;
  const upstream = sendRequest(wanted, agent, signal);
  upstream.end();
  let answer: Answer;
  try {
    answer = await answerOf(upstream, wanted.target);
    if (!answer.switched) checkCoding(answer.message);
  } catch (error) {
    upstream.destroy();
    await endWith(socket, serialiseRefusal(refusalOfError(error)), lingerMs);
    return;
  }
  const { message, switched } = answer;
  const reason = message.statusMessage ?? '';
  if (switched) {
    socket.write(serialiseHead(101, reason, message.rawHeaders));
    if (switched.head.length > 0) switched.stream.unshift(switched.head);
    await carry(socket, switched.stream, context);
    return;
  }
  const headers = [...answerHeaders(message.rawHeaders), 'Connection', 'close'];
  socket.write(serialiseHead(message.statusCode ?? 502, reason, headers));
  await passBody(message, socket, lingerMs);
}

function answerOf(upstream: ClientRequest, target: Target): Promise<Answer> {
  return new Promise((resolve, reject) => {
    upstream.once('error', reject);
    upstream.once('response', (message) => resolve({ message }));
    upstream.once('upgrade', (message, socket, head) => {
      resolve({ message, switched: { stream: Object.assign(socket, { target, allowHalfOpen: true }), head } });
    });
  });
}

async function passBody(message: IncomingMessage, socket: Socket, lingerMs: number): Promise<void> {
  const stream = message.socket;
  try {
    await pipeline(message, socket, { end: false });
    if (stream.errored) throw stream.errored;
    await endWith(socket, Buffer.alloc(0), lingerMs);
  } catch {
    resetSocket(socket);
  }
}
