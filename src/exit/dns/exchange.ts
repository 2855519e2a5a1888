/**
 * One question to one name server: over UDP from a port and with an id of its own, over TCP if the answer is truncated.
 * What does not come from that server, has another id or is about something else may be forged, and is ignored (RFC
 * 5452).
 */
import { randomInt } from 'node:crypto';
import { connect } from 'node:net';
import { AbortableWait } from '../../async/abortable.ts';
import { systemClock } from '../../clock.ts';
import { framed, MessageReader } from '../../dns/framing.ts';
import { FLAG, putU16, RCODE, readHeader, readQuestion } from '../../dns/wire.ts';
import { WstunError } from '../../errors.ts';
import { type Family, UdpSocket } from '../udp/udp-socket.ts';
import type { NameServer } from './name-servers.ts';

interface ExchangeOptions {
  /** Its id is replaced. */
  readonly query: Uint8Array;
  readonly server: NameServer;
  readonly signal: AbortSignal;
  /** For UDP. TCP is for what is known to be there, and has the time that `signal` leaves. */
  readonly udpMs: number;
}

/** A whole answer. Rejects when none came. */
export async function exchange(options: ExchangeOptions): Promise<Uint8Array> {
  const answer = await overUdp(options);
  const isWhole = ((readHeader(answer)?.flags ?? 0) & FLAG.truncated) === 0;
  return isWhole ? answer : await overTcp(options);
}

async function overUdp({ query, server, signal, udpMs }: ExchangeOptions): Promise<Uint8Array> {
  const asked = withNewId(query);
  const family: Family = server.host.includes(':') ? 6 : 4;
  const wait = newWait(signal, udpMs);
  const socket = new UdpSocket(family, {
    handleMessage: (bytes) => {
      if (isAnswer(bytes, asked)) wait.resolve(new Uint8Array(bytes));
    },
    handleFailed: (error) => wait.reject(error),
    handleUnreachable: (error) => wait.reject(error),
  });
  try {
    await Promise.race([socket.connect(server.host, server.port), wait.promise]);
    socket.send(asked);
    return await wait.promise;
  } finally {
    wait.reject(new WstunError('dial-cancelled'));
    socket.close();
    await socket.closed;
  }
}

/** A query and a connection each: RFC 7766 §6.2.1 would keep it open, but truncated answers are rare. */
async function overTcp({ query, server, signal }: ExchangeOptions): Promise<Uint8Array> {
  const asked = withNewId(query);
  const wait = newWait(signal);
  const socket = connect({ host: server.host, port: server.port, noDelay: true });
  const reader = new MessageReader();
  socket.on('data', (bytes) => {
    for (const message of reader.receive(bytes)) if (isAnswer(message, asked)) wait.resolve(message);
  });
  socket.on('error', (error) => wait.reject(error));
  socket.on('close', () => wait.reject(new WstunError('target-reset')));
  socket.write(framed(asked));
  try {
    return await wait.promise;
  } finally {
    socket.destroy();
  }
}

function newWait(signal: AbortSignal, limitMs?: number): AbortableWait<Uint8Array> {
  const wait = new AbortableWait<Uint8Array>({
    ...{ clock: systemClock, signal, limitMs },
    onExpired: (expired) => expired.reject(new WstunError('dial-timed-out')),
  });
  // Its owner may have failed by then.
  wait.promise.catch(() => {});
  return wait;
}

function withNewId(query: Uint8Array): Uint8Array {
  const asked = query.slice();
  putU16(asked, 0, randomInt(0x10000));
  return asked;
}

function isAnswer(message: Uint8Array, asked: Uint8Array): boolean {
  const [header, query] = [readHeader(message), readHeader(asked)];
  if (header === undefined || header.id !== query?.id) return false;
  if ((header.flags & FLAG.response) === 0 || header.opcode !== 0) return false;
  const [one, other] = [readQuestion(message), readQuestion(asked)];
  // Some servers leave the question out when they fail.
  if (one === undefined) return header.questions === 0 && header.rcode !== RCODE.noError;
  return one.name === other?.name && one.type === other.type && one.class === other.class;
}
