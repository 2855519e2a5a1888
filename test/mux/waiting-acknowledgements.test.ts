/**
 * Acknowledgements that wait for something to go along with, because the sender says that it can do without: in virtual
 * time.
 */
import { describe, expect, it } from 'vitest';
import { DEFAULT_RESUME_CONFIG } from '../../src/mux/links/resume-config.ts';
import { type Acknowledgement, decodeRecordHeader, encodeRecordHeader } from '../../src/protocol/record-header.ts';
import { OneLinkSession } from '../support/mux/one-link-session.ts';
import { ResumeRig, type ResumingEnd } from '../support/mux/resume-rig.ts';
import { wire } from '../support/mux/wire.ts';
import { prng } from '../support/prng.ts';

const KIB = 1024;
const { ackWaitMs, ackIntervalMs, ackBytes } = DEFAULT_RESUME_CONFIG;
/** Of HELLO's features, in the first record of an end: behind its header, the frame's, and the version. */
const FEATURES_AT = 1 + 8 + 2;

/** With one open stream, and everything said that a new link has to say. `old`: ends whose HELLO offers nothing. */
function openStream({ old = [] }: { readonly old?: readonly ('client' | 'exit')[] } = {}): ResumeRig {
  const rig = new ResumeRig();
  for (const side of old) {
    rig[side].poll(1);
    rig[side].messages[0]?.writeUInt16BE(0, FEATURES_AT);
  }
  rig.client.open();
  rig.flow();
  rig.exit.accept(0);
  rig.flow();
  return rig;
}

function send(from: ResumingEnd, bytes: number): void {
  from.write(0, bytes);
  from.poll(10);
  from.arrive(10);
}

function bareIn(rig: ResumeRig, act: () => void): number {
  const count = (): number => rig.client.bareAcknowledgements + rig.exit.bareAcknowledgements;
  const before = count();
  act();
  return count() - before;
}

/** A message and its answer; half a millisecond passes between the two. */
function echo(rig: ResumeRig): void {
  const { client, exit } = rig;
  send(client, 64);
  exit.poll(10);
  rig.clock.now += 0.5;
  send(exit, 64);
  client.poll(10);
  rig.clock.now += 1.5;
}

describe('An acknowledgement that may wait', () => {
  it('an acknowledgement that may wait goes along with the answer: a hundred small messages need no record for it', () => {
    const rig = openStream();
    const bare = bareIn(rig, () => {
      for (let i = 0; i < 100; i++) echo(rig);
    });
    expect(bare).toBe(0);
    expect([rig.client.streams.get(1)?.received, rig.exit.streams.get(1)?.received]).toEqual([6400, 6400]);
  });

  it('an acknowledgement that may wait goes alone 10 ms after the oldest record, and says when the newest came', () => {
    const rig = openStream();
    const { client, exit } = rig;
    rig.clock.now += 100;
    const since = rig.clock.now;
    send(client, 64);
    exit.poll(10);
    rig.clock.now = since + 6;
    send(client, 64);
    rig.clock.now = since + ackWaitMs - 0.1;
    exit.poll(10);
    expect(exit.messages).toEqual([]);
    expect(exit.resumable.acknowledgementAt()).toBe(since + ackWaitMs);
    rig.clock.now = since + ackWaitMs;
    exit.poll(10);
    const told = decodeRecordHeader(exit.messages)?.header.acknowledged as Acknowledgement;
    expect(told).toEqual({ position: exit.resumable.received, receivedUs: (since + 6) * 1000 });
    expect(exit.resumable.acknowledgementAt()).toBe(Number.POSITIVE_INFINITY);
    exit.arrive(1);
    expect(client.resumable.retransmitBytes).toBe(0);
  });

  it('an acknowledgement waits no longer when a record follows that must be acknowledged at once', () => {
    const rig = openStream();
    const { client, exit } = rig;
    rig.clock.now += 100;
    send(client, 64);
    exit.poll(10);
    expect(exit.messages).toEqual([]);
    expect(client.newestMayWait).toBe(true);
    rig.clock.now += ackIntervalMs;
    client.write(0, 60 * KIB);
    client.poll(1);
    expect(client.newestMayWait).toBe(false);
    client.arrive(1);
    exit.poll(10);
    expect(exit.messages.length).toBe(1);
  });

  it('an acknowledgement waits for 10 ms on a new link, too, whatever was due on the old one', () => {
    const session = exitOf();
    session.receive([flagged, wire.open(1)], 100);
    session.mux.accept(1, 100);
    while (session.pollMessage(100) !== undefined);
    session.receive([flagged, wire.data(1, Buffer.alloc(1))], 105);
    expect(session.acknowledgementAt()).toBe(115);
    session.lose(107);
    session.attach(0, session.received, 200);
    while (session.pollMessage(200) !== undefined);
    session.receive([flagged, wire.data(1, Buffer.alloc(1))], 300);
    expect(session.acknowledgementAt()).toBe(310);
  });

  it('an acknowledgement that was held for a request on a new link is due as soon as it is released', () => {
    const rig = openStream();
    const { client, exit } = rig;
    rig.clock.now += 100;
    send(client, 64);
    exit.resumable.holdAcknowledgements();
    send(client, 64);
    rig.clock.now += ackWaitMs;
    exit.poll(10);
    expect(exit.messages.length).toBe(1);
    expect(exit.resumable.acknowledgementAt()).toBe(Number.POSITIVE_INFINITY);
    exit.resumable.releaseAcknowledgements();
    expect(exit.resumable.acknowledgementAt()).toBeLessThanOrEqual(rig.clock.now + ackIntervalMs);
  });
});

/** An exit whose peer is the test. */
function exitOf(): OneLinkSession {
  const session = OneLinkSession.of({ role: 'exit' });
  session.attach(0, 0, 0);
  session.receive([flagged, wire.hello()], 0);
  while (session.pollMessage(0) !== undefined);
  return session;
}

const flagged = encodeRecordHeader({ isNumbered: true, mayWait: true, acknowledged: undefined });

describe('A sender whose records may wait', () => {
  it('a sender never lets an acknowledgement wait for which it waits itself', () => {
    let blocked = 0;
    for (let seed = 1; seed <= 300; seed++) {
      const rig = openStream();
      const { client } = rig;
      const random = prng(seed);
      for (let i = random.below(40); i >= 0; i--) {
        client.write(0, 1 + random.below(random.pick([100, 3000, 40_000])));
        client.poll(100);
        client.arrive(random.below(4));
        rig.clock.now += random.below(4);
        rig.exit.poll(random.below(2));
        rig.exit.arrive(random.below(3));
      }
      client.poll(100);
      // What would still go out, were it not for the path.
      if (client.session.pollRecord(rig.clock.now) === undefined) continue;
      blocked += 1;
      expect(client.newestMayWait, `seed ${seed}`).toBe(false);
    }
    expect(blocked).toBeGreaterThan(50);
  });

  it('a sender keeps at most 16 KiB while an acknowledgement waits, however much it sends', () => {
    const rig = openStream();
    const { client, exit } = rig;
    for (let i = 0; i < 500; i++) {
      send(client, 40 * KIB);
      exit.poll(10);
      exit.arrive(10);
      exit.consume(0, 40 * KIB);
      if (client.newestMayWait) expect(client.resumable.retransmitBytes).toBeLessThan(16 * KIB + 10 * 400);
      rig.clock.now += 0.2;
    }
  });

  it('a sender lets no acknowledgement wait of the first record of a link, nor every two seconds of one that measures the path', () => {
    const rig = openStream();
    const { client } = rig;
    const wanted: number[] = [];
    for (let i = 0; i < 5000; i++) {
      echo(rig);
      if (!client.newestMayWait) wanted.push(rig.clock.now);
    }
    expect(wanted.length).toBeGreaterThanOrEqual(4);
    expect(wanted.length).toBeLessThanOrEqual(8);
    rig.lose();
    rig.join();
    send(client, 64);
    expect(client.newestMayWait).toBe(false);
  });
});

describe('A peer without the may-wait feature', () => {
  it('a peer without the may-wait feature never gets the flag, and its records are acknowledged at once', () => {
    const rig = openStream({ old: ['client'] });
    const { client, exit } = rig;
    const before = exit.mayWaitCount;
    for (let i = 0; i < 100; i++) {
      rig.clock.now += 10;
      send(exit, 64);
      client.poll(10);
      client.arrive(10);
    }
    expect(exit.mayWaitCount - before).toBe(0);
  });

  it('each record of a peer that sends no may-wait flag is acknowledged at once', () => {
    const rig = openStream({ old: ['exit'] });
    const { client, exit } = rig;
    for (let i = 0; i < 100; i++) {
      rig.clock.now += 10;
      expect(bareIn(rig, () => [send(client, 64), exit.poll(10)])).toBe(1);
      exit.arrive(10);
      expect(client.resumable.retransmitBytes).toBe(0);
    }
    expect(client.mayWaitCount).toBe(0);
  });
});

describe('A hostile peer that uses the may-wait flag', () => {
  it('half a megabyte is acknowledged at once, and anything within 10 ms, even if the peer lets all its records wait', () => {
    const session = exitOf();
    session.receive([flagged, wire.open(1)], 100);
    session.mux.accept(1, 100);
    session.pollMessage(100);
    for (let sent = 0; sent < 3 * ackBytes; ) {
      let unacknowledged = 0;
      let message: readonly Uint8Array[] | undefined;
      while (message === undefined) {
        const data = wire.data(1, Buffer.alloc(10_000));
        session.receive([flagged, data], 100);
        session.mux.consume(1, 10_000, 100);
        sent += data.length;
        unacknowledged += data.length;
        message = session.pollMessage(100);
      }
      expect(unacknowledged).toBeLessThan(ackBytes + 10_010);
    }
    session.receive([flagged, wire.data(1, Buffer.alloc(1))], 100);
    expect(session.acknowledgementAt()).toBeLessThanOrEqual(110);
  });

  it('the may-wait flag on unnumbered records has no effect, and they count as no-ops', () => {
    const session = exitOf();
    const noOp = encodeRecordHeader({ isNumbered: false, mayWait: true, acknowledged: undefined });
    let sent = 0;
    for (; !session.mux.isOver && sent < 10_000; sent++) session.receive([noOp], 0);
    expect(sent).toBeGreaterThan(900);
    expect(sent).toBeLessThan(1100);
  });
});
