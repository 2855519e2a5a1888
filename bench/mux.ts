/**
 * The multiplexer and the codec alone: two sessions joined in memory, without links, sockets or timers. Says what they
 * cost of the whole.
 */
import { DEFAULT_MUX_CONFIG } from '../src/mux/config.ts';
import { MuxSession } from '../src/mux/session.ts';

const CHUNK = Buffer.alloc(64 * 1024, 'wstun');
const PORT = 80;

export interface MuxSpeed {
  readonly streams: number;
  readonly megabytesPerSecond: number;
  readonly microsecondsPerRecord: number;
}

/** One direction, `bytes` in all, spread over `streams`. */
export function measureMux(streams: number, bytes: number): MuxSpeed {
  const sender = new MuxSession({ ...DEFAULT_MUX_CONFIG, role: 'client' }, 0);
  const receiver = new MuxSession({ ...DEFAULT_MUX_CONFIG, role: 'exit' }, 0);
  // Everything at one time: the windows then grow as on a path without delay.
  const now = 0;
  let received = 0;
  let records = 0;
  const writable: number[] = [];
  const handleEvents = (session: MuxSession): void => {
    for (let event = session.pollEvent(); event; event = session.pollEvent()) {
      if (event.type === 'offer') session.accept(event.stream, now);
      else if (event.type === 'opened' || event.type === 'writable') writable.push(event.stream);
      else if (event.type === 'ended') throw new Error(`the session ended: ${event.fault}`);
      else if (event.type === 'data') {
        received += event.bytes.length;
        session.consume(event.stream, event.bytes.length, now);
      }
    }
  };
  const carry = (from: MuxSession, to: MuxSession): void => {
    for (let record = from.pollRecord(now); record; record = from.pollRecord(now)) {
      records += 1;
      for (const piece of record) to.handleRecord(piece, now);
      handleEvents(to);
      handleEvents(from);
    }
  };
  carry(sender, receiver);
  carry(receiver, sender);
  for (let i = 0; i < streams; i++) sender.open({ kind: 'ip', ip: Uint8Array.of(127, 0, 0, 1), port: PORT }, now);
  const began = performance.now();
  while (received < bytes) {
    carry(sender, receiver);
    carry(receiver, sender);
    for (const stream of writable.splice(0)) while (sender.write(stream, CHUNK));
  }
  const seconds = (performance.now() - began) / 1000;
  return {
    streams,
    megabytesPerSecond: received / seconds / 1e6,
    microsecondsPerRecord: (seconds * 1e6) / records,
  };
}
