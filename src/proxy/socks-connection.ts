/** One SOCKS connection on its socket: drives the pure negotiation and serves the command that it asks for. */
import type { Socket } from 'node:net';
import { WstunError } from '../errors.ts';
import { awaitBytes, endWith, faultOf, openStream, type ProxyContext, pipe } from './program-connection.ts';
import { serveBind } from './socks-bind.ts';
import type { SocksNegotiation, SocksStep } from './socks-negotiation.ts';
import { serveDatagrams } from './udp/datagram-connection.ts';
import type { DatagramFraming } from './udp/datagram-framing.ts';
import { HevFraming } from './udp/hev-framing.ts';
import { serveUdpAssociate } from './udp/udp-associate.ts';
import { uotFramingOf } from './udp/uot-framing.ts';

type Outcome = Exclude<SocksStep, { kind: 'more' }>;
type Request = Extract<Outcome, { kind: 'request' }>;

/** Resolves when the socket is closed. `first`: what was read of it. `deadline`: by `performance.now`. */
export async function serveSocks(
  socket: Socket,
  first: Buffer,
  negotiation: SocksNegotiation,
  deadline: number,
  context: ProxyContext,
): Promise<void> {
  // Intermediate replies are sent here; the reply of a refusal is not.
  const receive = (bytes: Buffer): Outcome | undefined => {
    const step = negotiation.receive(bytes);
    if (step.kind !== 'refused' && step.reply.length > 0) socket.write(step.reply);
    return step.kind === 'more' ? undefined : step;
  };
  const outcome = await awaitBytes(socket, deadline, receive, first);
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
  await serveCommand(socket, outcome, negotiation, context);
}

function serveCommand(
  socket: Socket,
  request: Request,
  negotiation: SocksNegotiation,
  context: ProxyContext,
): Promise<void> {
  switch (request.command) {
    case 'connect':
      return connect(socket, request, negotiation, context);
    case 'bind':
      return serveBind(socket, request.target, negotiation, context);
    case 'udp-associate':
      if (context.opener.lacksUdp) return refuseUdp(socket, negotiation, context);
      return serveUdpAssociate(socket, request.target, negotiation, context);
    case 'udp-in-tcp':
      return serveFramed(socket, new HevFraming(), negotiation, context);
  }
}

/** Datagrams in the connection itself. */
function serveFramed(
  socket: Socket,
  framing: DatagramFraming,
  negotiation: SocksNegotiation,
  context: ProxyContext,
): Promise<void> {
  if (context.opener.lacksUdp) return refuseUdp(socket, negotiation, context);
  socket.write(negotiation.granted);
  return serveDatagrams(socket, framing, context);
}

/** Rather than silence, which a program would take for lost datagrams. */
function refuseUdp(socket: Socket, negotiation: SocksNegotiation, context: ProxyContext): Promise<void> {
  context.associations.noteFailure(new WstunError('service-unknown'));
  return endWith(socket, negotiation.failed('service-unknown'), context.limits.lingerMs);
}

async function connect(
  socket: Socket,
  request: Request,
  negotiation: SocksNegotiation,
  context: ProxyContext,
): Promise<void> {
  const framing = uotFramingOf(request.target);
  if (framing !== undefined) return serveFramed(socket, framing, negotiation, context);
  try {
    const stream = await openStream(socket, request.target, context);
    await pipe(socket, stream, context, negotiation.granted);
  } catch (error) {
    await endWith(socket, negotiation.failed(faultOf(error)), context.limits.lingerMs);
  }
}
