/** One SOCKS connection on its socket: drives the pure negotiation, opens the stream, replies, pipes. */
import type { Socket } from 'node:net';
import { endWith, faultOf, openStream, type ProxyContext, pipe } from './program-connection.ts';
import type { SocksNegotiation, SocksStep } from './socks-negotiation.ts';

type Outcome = Exclude<SocksStep, { kind: 'more' }>;

/** Resolves when the socket is closed. `first`: what was read of it. `deadline`: by `performance.now`. */
export async function serveSocks(
  socket: Socket,
  first: Uint8Array,
  negotiation: SocksNegotiation,
  deadline: number,
  context: ProxyContext,
): Promise<void> {
  const outcome = await negotiate(socket, first, negotiation, deadline);
  if (outcome === undefined) {
    socket.destroy();
    return;
  }
  if (outcome.kind === 'refused') {
    context.logger.debug({ fault: outcome.fault }, 'SOCKS request rejected');
    await endWith(socket, outcome.reply, context.limits.lingerMs);
    return;
  }
  if (outcome.rest.length > 0) socket.unshift(outcome.rest);
  await connect(socket, outcome, negotiation, context);
}

async function connect(
  socket: Socket,
  request: Extract<Outcome, { kind: 'request' }>,
  negotiation: SocksNegotiation,
  context: ProxyContext,
): Promise<void> {
  try {
    const stream = await openStream(socket, request.target, context);
    await pipe(socket, stream, context, negotiation.granted);
  } catch (error) {
    await endWith(socket, negotiation.failed(faultOf(error)), context.limits.lingerMs);
  }
}

/**
 * Leaves the socket paused. Undefined: the program closed, sent nothing until the deadline, or ended its side within a
 * request. Intermediate replies are sent here; the reply of a refusal is not.
 */
function negotiate(
  socket: Socket,
  first: Uint8Array,
  negotiation: SocksNegotiation,
  deadline: number,
): Promise<Outcome | undefined> {
  return new Promise((resolve) => {
    const settle = (outcome?: Outcome): void => {
      clearTimeout(limit);
      socket.off('data', receive).off('end', giveUp).off('close', giveUp).pause();
      resolve(outcome);
    };
    const giveUp = (): void => settle();
    const receive = (bytes: Uint8Array): void => {
      const step = negotiation.receive(bytes);
      if (step.kind !== 'refused' && step.reply.length > 0) socket.write(step.reply);
      if (step.kind !== 'more') settle(step);
    };
    const limit = setTimeout(giveUp, deadline - performance.now());
    socket.on('data', receive).on('end', giveUp).on('close', giveUp).resume();
    receive(first);
  });
}
