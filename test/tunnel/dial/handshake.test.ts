/**
 * The handshake between two ends with a relay in between that does what it likes. What Noise itself refuses:
 * test/crypto.
 */
import { getEventListeners } from 'node:events';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { HandshakeState } from '../../../src/crypto/noise.ts';
import { x25519 } from '../../../src/crypto/x25519.ts';
import { type FaultName, WstunError, wireCodeOf } from '../../../src/errors.ts';
import { silentLogger } from '../../../src/observability/logger.ts';
import { encodeSessionRequest } from '../../../src/protocol/session-request.ts';
import {
  acceptSecureLink,
  type InitiatorOptions,
  initiateSecureLink,
  type ResponderOptions,
} from '../../../src/tunnel/dial/handshake.ts';
import type { SecureLink } from '../../../src/tunnel/dial/secure-link.ts';
import { ExitSessions } from '../../../src/tunnel/session/exit-sessions.ts';
import { SUITES } from '../../support/crypto/noise.ts';
import { LinkRecorder, turns } from '../../support/links/link-recorder.ts';
import { CLIENT_KEYS, EXIT_KEYS } from '../../support/links/secure-pair.ts';
import { type Direction, honest, Middle, type Tamper } from '../../support/links/tampering-link.ts';
import { VirtualClock } from '../../support/time/virtual-clock.ts';

/** Enough for three messages through two links in memory, and for the end of both. */
const TURNS = 20;
const HEADER_BYTES = 6;

const CLIENT: InitiatorOptions = {
  keys: CLIENT_KEYS,
  exitKey: EXIT_KEYS.publicKey,
  suite: 'ChaChaPoly',
  encryption: 'on',
};
const EXIT: ResponderOptions = {
  keys: EXIT_KEYS,
  peerOf: (key) => (CLIENT_KEYS.publicKey.every((byte, at) => byte === key[at]) ? 'alice' : undefined),
  allowUnsealed: true,
};

const STOPPED = new VirtualClock();
/** For thousands of handshakes at once, which a busy machine needs more than their time limit for. */
const NO_LIMIT: Setup = { client: { clock: STOPPED }, exit: { clock: STOPPED } };

interface Setup {
  readonly client?: Partial<InitiatorOptions>;
  readonly exit?: Partial<ResponderOptions>;
  readonly tamper?: Tamper;
  readonly signal?: AbortSignal;
}

/** One handshake and what came of it: `secured`, a fault, or undefined while it is under way. */
class Meeting {
  readonly middle: Middle;
  /** Of the links after the handshake. */
  readonly atClient = new LinkRecorder();
  readonly atExit = new LinkRecorder();
  readonly clientEvents: string[] = [];
  readonly exitEvents: string[] = [];

  constructor({ client, exit, tamper, signal = new AbortController().signal }: Setup = {}) {
    this.middle = new Middle(tamper);
    acceptSecureLink(
      this.middle.exit,
      { ...EXIT, ...exit },
      {
        onSecured: (link, peer) => {
          this.exitEvents.push(`secured ${peer}`);
          link.setHandler(this.atExit);
        },
        onRetired: (_link, peer) => void this.exitEvents.push(`retired ${peer}`),
        onFailed: (error) => void this.exitEvents.push(error.fault),
      },
    );
    initiateSecureLink(this.middle.client, { ...CLIENT, ...client }, signal).then(
      (link) => this.clientSecured(link),
      (error: WstunError) => this.clientEvents.push(error.fault),
    );
  }

  static async of(setup: Setup = {}): Promise<Meeting> {
    const meeting = new Meeting(setup);
    await turns(TURNS);
    return meeting;
  }

  /** How many messages each has written. */
  get written(): readonly [client: number, exit: number] {
    return [this.middle.sent.up.length, this.middle.sent.down.length];
  }

  /** Both have let go, and neither with a goodbye. */
  get torn(): boolean {
    return this.middle.ended.client === false && this.middle.ended.exit === false;
  }

  private clientSecured(link: SecureLink): void {
    this.clientEvents.push('secured');
    link.setHandler(this.atClient);
  }
}

const tamperAt =
  (direction: Direction, number: number, change: Tamper): Tamper =>
  (...message) =>
    message[2] === direction && message[1] === number ? change(...message) : honest(...message);

/** The three messages, and what ends see when one of them is bad. */
const MESSAGES = [
  { name: 'message 1', direction: 'up', number: 0, bytes: 54, written: [1, 0], exit: 'handshake-failed' },
  { name: 'message 2', direction: 'down', number: 0, bytes: 49, written: [1, 1], exit: 'handshake-failed' },
  { name: 'message 3', direction: 'up', number: 1, bytes: 65, written: [2, 1], exit: 'handshake-failed' },
] as const;

/** The client takes its third message for the last word; of a refusal of that one it learns by the loss of the link. */
function clientEventsAfter(name: string): string[] {
  return name === 'message 3' ? ['secured'] : ['handshake-failed'];
}

function expectFailure(meeting: Meeting, { name, written }: (typeof MESSAGES)[number]): void {
  expect(meeting.exitEvents).toEqual(['handshake-failed']);
  expect(meeting.clientEvents).toEqual(clientEventsAfter(name));
  expect(meeting.written).toEqual(written);
  expect(meeting.torn).toBe(true);
  expect(meeting.atClient.messages).toEqual([]);
}

describe('a handshake', () => {
  it('a handshake whose `encryption` is neither on nor off seals its records', async () => {
    const { exitEvents } = await Meeting.of({
      client: { encryption: 'On' as 'on' },
      exit: { allowUnsealed: false },
    });
    expect(exitEvents).toEqual(['secured alice']);
  });

  it.for(SUITES.flatMap((suite) => (['on', 'off'] as const).map((encryption) => ({ suite, encryption }))))(
    'a handshake between ends that trust each other takes three messages: $suite, encryption $encryption',
    async (client) => {
      const { clientEvents, exitEvents, middle } = await Meeting.of({ client });
      expect([clientEvents, exitEvents]).toEqual([['secured'], ['secured alice']]);
      expect(middle.sent.up.map(({ length }) => length)).toEqual([54, 65]);
      expect(middle.sent.down.map(({ length }) => length)).toEqual([49]);
      expect(middle.ended).toEqual({ client: undefined, exit: undefined });
    },
  );

  it('a handshake whose last step throws at the client fails at once, and ends the link', async () => {
    vi.spyOn(HandshakeState.prototype, 'finish').mockImplementationOnce(() => {
      throw new WstunError('handshake-failed');
    });
    const { clientEvents, middle } = await Meeting.of({});
    expect(clientEvents).toEqual(['handshake-failed']);
    expect(middle.ended.client).toBeDefined();
  });

  it('a handshake with another exit than the pinned one fails at its first message', async () => {
    const meeting = await Meeting.of({ client: { exitKey: x25519.generateKeyPair().publicKey } });
    expectFailure(meeting, MESSAGES[0]);
  });

  it('a handshake with an unknown client fails at its last message, and the client is not told why', async () => {
    const meeting = await Meeting.of({ exit: { peerOf: () => undefined } });
    expectFailure(meeting, MESSAGES[2]);
    expect(meeting.atClient.closes.map(({ clean }) => clean)).toEqual([false]);
  });

  it('a handshake asks for the peer once, with the key that was proved', async () => {
    const asked: Buffer[] = [];
    await Meeting.of({
      exit: {
        peerOf: (key) => {
          asked.push(Buffer.from(key));
          return 'bob';
        },
      },
    });
    expect(asked).toEqual([Buffer.from(CLIENT_KEYS.publicKey)]);
  });

  it('a handshake without encryption is rejected where that is not allowed', async () => {
    expectFailure(await Meeting.of({ client: { encryption: 'off' }, exit: { allowUnsealed: false } }), MESSAGES[0]);
  });

  it('a handshake whose header is altered in any byte to any value fails at once', async () => {
    const recorded = (await Meeting.of()).middle.sent.up[0]!;
    const survivors: string[] = [];
    for (let at = 0; at < HEADER_BYTES; at++) {
      const meetings: Meeting[] = [];
      for (let value = 1; value < 256; value++) {
        const altered = Buffer.from(recorded);
        altered[at]! ^= value;
        meetings.push(new Meeting({ ...NO_LIMIT, tamper: tamperAt('up', 0, () => [altered]) }));
      }
      await turns(TURNS);
      for (const { exitEvents, written } of meetings)
        if (exitEvents.join() !== 'handshake-failed' || written[1] !== 0) survivors.push(`${at}: ${exitEvents}`);
    }
    expect(survivors).toEqual([]);
  });
});

describe.for(MESSAGES)('$name', (which) => {
  const { direction, number, bytes } = which;
  const meetWith = (change: Tamper): Promise<Meeting> => Meeting.of({ tamper: tamperAt(direction, number, change) });

  it('a handshake fails when any bit of this message is flipped', async () => {
    const meetings = Array.from({ length: bytes * 8 }, (_, bit) => {
      const flip: Tamper = (message) => {
        message[bit >> 3]! ^= 1 << (bit & 7);
        return [message];
      };
      return new Meeting({ ...NO_LIMIT, tamper: tamperAt(direction, number, flip) });
    });
    await turns(TURNS);
    for (const meeting of meetings) expectFailure(meeting, which);
  });

  it('a handshake fails when this message is truncated at any length', async () => {
    const meetings = Array.from(
      { length: bytes },
      (_, length) =>
        new Meeting({ ...NO_LIMIT, tamper: tamperAt(direction, number, (message) => [message.subarray(0, length)]) }),
    );
    await turns(TURNS);
    for (const meeting of meetings) expectFailure(meeting, which);
  });

  it.for([1, 16, 4_096 - bytes, 4_097 - bytes, 65_535 - bytes])(
    'a handshake fails when %i bytes follow in this message',
    async (more) => {
      expectFailure(await meetWith((message) => [Buffer.concat([message, Buffer.alloc(more)])]), which);
    },
  );

  it.for([
    ['bytes of its length', Buffer.alloc(bytes, 0xa5)],
    ['a right first byte and then nothing true', Buffer.concat([Buffer.of(1), Buffer.alloc(bytes - 1, 0x5a)])],
    ['text', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
    ['nothing', Buffer.alloc(0)],
  ] as const)('a handshake fails when this message is replaced by %s', async ([, garbage]) => {
    expectFailure(await meetWith(() => [garbage]), which);
  });

  it('a handshake fails when this message is replaced by that of another handshake', async () => {
    const earlier = (await Meeting.of()).middle.sent[direction][number]!;
    const meeting = await meetWith(() => [earlier]);
    // A replayed first message is the client's own: only what comes next shows that whoever sent it has not its
    // ephemeral key.
    if (number === 0 && direction === 'up') {
      expect([meeting.exitEvents, meeting.clientEvents]).toEqual([['handshake-failed'], ['handshake-failed']]);
      expect(meeting.written).toEqual([1, 1]);
      expect(meeting.torn).toBe(true);
    } else expectFailure(meeting, which);
  });

  it('a handshake message that is sent twice ends the link before a byte is delivered', async () => {
    const meeting = await meetWith((message) => [message, message]);
    expect(meeting.torn).toBe(true);
    expect([...meeting.atClient.messages, ...meeting.atExit.messages]).toEqual([]);
    const secured = [...meeting.clientEvents, ...meeting.exitEvents].filter((event) => event.startsWith('secured'));
    // Twice message 1 fails before anyone is secured; twice 2 after the client was; twice 3 after both were.
    expect(secured.length).toBe(MESSAGES.indexOf(which));
    expect([meeting.clientEvents.length, meeting.exitEvents.length]).toEqual([1, 1]);
  });
});

describe('a notice of the relay during a handshake', () => {
  const notice = (code: number): Buffer => Buffer.of(0, code >> 8, code & 0xff);
  const afterNotice = async (bytes: Buffer): Promise<FaultName | string | undefined> => {
    const meeting = await Meeting.of({ tamper: tamperAt('down', 0, () => [bytes]) });
    expect([meeting.clientEvents.length, meeting.written[0], meeting.middle.ended.client]).toEqual([1, 1, false]);
    return meeting.clientEvents[0];
  };

  it.for(['exit-absent', 'shutting-down', 'link-lost', 'peer-silent'] as const)(
    'a notice with %s is passed on, as a reason to try again',
    async (fault) => {
      expect(await afterNotice(notice(wireCodeOf(fault)))).toBe(fault);
    },
  );

  it.for(['access-removed', 'bad-version', 'dial-refused', 'dial-cancelled', 'internal'] as const)(
    'a notice with %s is not believed, because nothing is proved yet',
    async (fault) => {
      expect(await afterNotice(notice(wireCodeOf(fault)))).toBe('handshake-failed');
    },
  );

  it('a notice with an unknown code, or of another length, is a failed handshake', async () => {
    const odd = [
      notice(0),
      notice(0xffff),
      Buffer.of(0),
      Buffer.of(0, 14),
      Buffer.of(0, 0, 14, 0),
      Buffer.alloc(5_000),
    ];
    for (const bytes of odd) expect(await afterNotice(bytes)).toBe('handshake-failed');
  });

  it('a notice with keys-rotated is believed only with the proof of this link', async () => {
    const proof = Buffer.alloc(32, 0xab);
    const told = async (sent: Uint8Array, rotationProof?: Buffer): Promise<string | undefined> => {
      const bytes = Buffer.concat([notice(wireCodeOf('keys-rotated')), sent]);
      const meeting = await Meeting.of({ client: { rotationProof }, tamper: tamperAt('down', 0, () => [bytes]) });
      return meeting.clientEvents[0];
    };
    expect(await told(proof, proof)).toBe('keys-rotated');
    for (const sent of [Buffer.alloc(0), proof.subarray(1), Buffer.alloc(32, 0xac), Buffer.concat([proof, proof])])
      expect(await told(sent, proof)).toBe('handshake-failed');
    expect(await told(proof)).toBe('handshake-failed');
    expect(await told(Buffer.alloc(0))).toBe('handshake-failed');
  });

  it('a notice to an exit is a failed handshake', async () => {
    expectFailure(await Meeting.of({ tamper: tamperAt('up', 0, () => [notice(14)]) }), MESSAGES[0]);
  });
});

describe('an exit whose keys were rotated', () => {
  const retired = [
    { keys: x25519.generateKeyPair(), peerOf: EXIT.peerOf },
    { keys: x25519.generateKeyPair(), peerOf: () => undefined },
  ];

  it('an exit completes a handshake under a rotated key only to say that it was rotated', async () => {
    const client = { exitKey: retired[0]?.keys.publicKey ?? CLIENT.exitKey };
    const meeting = await Meeting.of({ client, exit: { retired } });
    expect([meeting.clientEvents, meeting.exitEvents]).toEqual([['secured'], ['retired alice']]);
  });

  it('an exit completes no handshake under a rotated key for a client that did not have access with it', async () => {
    const unwelcome = { exitKey: retired[1]?.keys.publicKey ?? CLIENT.exitKey };
    expectFailure(await Meeting.of({ client: unwelcome, exit: { retired } }), MESSAGES[2]);
    const other = { exitKey: x25519.generateKeyPair().publicKey };
    expectFailure(await Meeting.of({ client: other, exit: { retired } }), MESSAGES[0]);
  });

  it('an exit whose keys were rotated serves clients with its current key', async () => {
    expect((await Meeting.of({ exit: { retired } })).exitEvents).toEqual(['secured alice']);
  });
});

describe('the time limit of a handshake', () => {
  afterEach(() => {
    vi.useRealTimers();
  });

  it.for(MESSAGES)('a handshake fails after 10 s when $name does not come', async ({ direction, number, name }) => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const meeting = await Meeting.of({ tamper: tamperAt(direction, number, () => []) });
    vi.advanceTimersByTime(9_999);
    await turns(TURNS);
    expect([meeting.exitEvents, meeting.torn]).toEqual([[], false]);
    vi.advanceTimersByTime(1);
    await turns(TURNS);
    // Both limits fall on the same millisecond; the exit's began first.
    expect(meeting.exitEvents).toEqual(['link-slow']);
    expect(meeting.clientEvents).toEqual([name === 'message 3' ? 'secured' : 'link-slow']);
    expect(meeting.torn).toBe(true);
    expect(meeting.written).toEqual([name === 'message 3' ? 2 : 1, name === 'message 1' ? 0 : 1]);
  });

  it('a handshake leaves no timer after success or failure', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const secured = await Meeting.of();
    const failed = await Meeting.of({ exit: { peerOf: () => undefined } });
    expect(vi.getTimerCount()).toBe(0);
    expect(secured.middle.ended).toEqual({ client: undefined, exit: undefined });
    expect(failed.exitEvents).toEqual(['handshake-failed']);
  });
});

describe('an aborted handshake', () => {
  it('a handshake that is aborted before it began sends nothing', async () => {
    const meeting = await Meeting.of({ signal: AbortSignal.abort() });
    expect([meeting.clientEvents, meeting.written]).toEqual([['dial-cancelled'], [0, 0]]);
    expect([meeting.exitEvents, meeting.torn]).toEqual([['handshake-failed'], true]);
  });

  it('a handshake that is aborted under way ends the link at both ends', async () => {
    const abort = new AbortController();
    const meeting = await Meeting.of({ signal: abort.signal, tamper: tamperAt('down', 0, () => []) });
    expect(meeting.clientEvents).toEqual([]);
    abort.abort();
    await turns(TURNS);
    expect([meeting.clientEvents, meeting.written]).toEqual([['dial-cancelled'], [1, 1]]);
    expect([meeting.exitEvents, meeting.torn]).toEqual([['handshake-failed'], true]);
  });

  it('an abort has no effect after a handshake, and no outcome leaves a listener on the signal', async () => {
    const abort = new AbortController();
    const { signal } = abort;
    const secured = await Meeting.of({ signal });
    await Meeting.of({ signal, exit: { keys: x25519.generateKeyPair() } });
    await Meeting.of({ signal, tamper: tamperAt('down', 0, () => [Buffer.alloc(49)]) });
    expect(getEventListeners(signal, 'abort')).toEqual([]);
    abort.abort();
    await turns(TURNS);
    expect([secured.clientEvents, secured.torn]).toEqual([['secured'], false]);
  });
});

describe('a failed handshake', () => {
  it('a failed handshake is reported once, whatever happens to the link afterwards', async () => {
    const meeting = await Meeting.of({ tamper: tamperAt('up', 0, () => [Buffer.of(1), Buffer.of(1), Buffer.of(1)]) });
    for (const link of [meeting.middle.client, meeting.middle.exit]) link.abort();
    await turns(TURNS);
    expect([meeting.clientEvents, meeting.exitEvents]).toEqual([['handshake-failed'], ['handshake-failed']]);
  });

  it('a handshake fails at a clean end of the link, too', async () => {
    const meeting: Meeting = new Meeting({
      tamper: tamperAt('down', 0, () => {
        meeting.middle.close();
        return [];
      }),
    });
    await turns(TURNS);
    expect([meeting.clientEvents, meeting.exitEvents]).toEqual([['handshake-failed'], ['handshake-failed']]);
  });
});

describe('records that come in the same turn as the last handshake message', () => {
  const RECORDS = Array.from({ length: 30 }, (_, i) => Buffer.from([i, 0, i]));

  /** A client that sends as soon as it can, and an exit that sets its handler when `whenSecured` says so. */
  async function sendEarly(whenSecured: (setHandler: () => void) => void): Promise<LinkRecorder> {
    const middle = new Middle();
    const atExit = new LinkRecorder();
    acceptSecureLink(middle.exit, EXIT, {
      onSecured: (link) => whenSecured(() => link.setHandler(atExit)),
      onFailed: (error) => expect.fail(error.message),
    });
    const link = await initiateSecureLink(middle.client, CLIENT, new AbortController().signal);
    link.setHandler(new LinkRecorder());
    for (const record of RECORDS) link.send([record]);
    link.close();
    await turns(TURNS);
    return atExit;
  }

  it.for([
    ['at once', (act: () => void) => act()],
    ['later in that turn', (act: () => void) => queueMicrotask(() => queueMicrotask(act))],
  ] as const)(
    'records in the turn of the last handshake message are delivered in order, then the end, to a handler set %s',
    async ([, when]) => {
      const atExit = await sendEarly(when);
      expect(atExit.messages).toEqual(RECORDS);
      expect(atExit.closes.map(({ clean }) => clean)).toEqual([true]);
    },
  );
});

describe('an exit behind a gate', () => {
  /** An exit, and how a client comes to it. */
  function exitAnd() {
    const sessions = new ExitSessions({
      keys: EXIT_KEYS,
      peerOf: EXIT.peerOf,
      acceptor: { handleOffer: (offer) => offer.refuse('dial-failed') },
      logger: silentLogger,
    });
    const arrive = (middle: Middle, admitted?: string, client: Partial<InitiatorOptions> = {}): void => {
      sessions.serve(middle.exit, admitted);
      initiateSecureLink(middle.client, { ...CLIENT, ...client }, new AbortController().signal).then(
        (link) => {
          link.setHandler(new LinkRecorder());
          link.send([encodeSessionRequest({ kind: 'begin', id: Buffer.alloc(16), received: 0 })]);
        },
        () => {},
      );
    };
    return { sessions, arrive };
  }

  async function serve(admitted: string | undefined, client: Partial<InitiatorOptions> = {}) {
    const { sessions, arrive } = exitAnd();
    const middle = new Middle();
    arrive(middle, admitted, client);
    await turns(TURNS);
    const outcome = { sessions: sessions.count, written: middle.sent.down.length, torn: middle.ended.exit === false };
    middle.client.abort();
    await turns(TURNS);
    return outcome;
  }

  const refusedAtTheEnd = { sessions: 0, written: 1, torn: true };

  it('an exit behind a gate serves the peer whose ticket opened the link', async () => {
    expect(await serve('alice')).toMatchObject({ sessions: 1, torn: false });
    expect(await serve('alice', { encryption: 'off' })).toMatchObject({ sessions: 1, torn: false });
  });

  it('an exit behind a gate serves neither a peer on another’s ticket nor an unknown one', async () => {
    expect(await serve('bob')).toEqual(refusedAtTheEnd);
    expect(await serve('alice', { keys: x25519.generateKeyPair() })).toEqual(refusedAtTheEnd);
    expect(await serve(undefined, { keys: x25519.generateKeyPair() })).toEqual(refusedAtTheEnd);
  });

  it('an exit serves no unsealed link that a relay has passed on', async () => {
    expect(await serve(undefined)).toMatchObject({ sessions: 1, torn: false });
    expect(await serve(undefined, { encryption: 'off' })).toEqual({ sessions: 0, written: 0, torn: true });
  });

  it('an exit that closes aborts links in their handshake, and accepts no more', async () => {
    const { sessions, arrive } = exitAnd();
    const onlyTheFirst: Tamper = (...sent) => (sent[2] === 'up' && sent[1] > 0 ? [] : honest(...sent));
    const [under, late] = [new Middle(onlyTheFirst), new Middle()];
    arrive(under);
    await turns(TURNS);
    expect([under.sent.up.length, under.ended.exit]).toEqual([3, undefined]);
    await sessions.close(0);
    arrive(late);
    await turns(TURNS);
    expect([under.ended.exit, late.ended.exit]).toEqual([false, false]);
    expect([sessions.count, late.sent.down.length]).toEqual([0, 0]);
  });
});
