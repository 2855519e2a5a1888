/** Links by a page, which takes one of several relays at a time: which one it is asked for, in virtual time. */
import { describe, expect, it } from 'vitest';
import { createIdentity } from '../../../src/crypto/keys.ts';
import { TicketSealer } from '../../../src/crypto/ticket.ts';
import { importKeyPair } from '../../../src/crypto/x25519.ts';
import { type WireFaultName, WstunError } from '../../../src/errors.ts';
import { silentLogger } from '../../../src/observability/logger.ts';
import { encodeNotice } from '../../../src/transport/control-messages.ts';
import type { MessageLink } from '../../../src/transport/message-link.ts';
import type { LinkPurpose, SessionPlace } from '../../../src/tunnel/dial/connectors.ts';
import { RelaySessionDialer } from '../../../src/tunnel/dial/session-dialer.ts';
import { ExitSessions } from '../../../src/tunnel/session/exit-sessions.ts';
import { ECHO } from '../../support/links/echoing.ts';
import { memoryLinkPair } from '../../support/links/memory-link.ts';
import { never } from '../../support/never.ts';
import { atEnd } from '../../support/scope.ts';
import { VirtualClock } from '../../support/time/virtual-clock.ts';

const [A, B] = ['wss://a.test', 'wss://b.test'] as const;

/** `silent`: the keys are agreed on, and nothing follows. */
type Answer = 'serves' | 'silent' | WireFaultName;

/** Two relays that a page reaches, and what each says on its links. */
class World {
  readonly clock = new VirtualClock();
  readonly asked: string[] = [];
  readonly dialer: RelaySessionDialer;
  private readonly sealer: TicketSealer;
  private readonly exit: ExitSessions;
  private isOverloaded = false;

  /** @param dialDirectly default: only pages carry links */
  constructor(
    readonly answers: Record<string, Answer>,
    dialDirectly?: (relay: string) => never,
  ) {
    const [relay, peer] = [createIdentity(), createIdentity()];
    const { clock } = this;
    this.sealer = new TicketSealer(peer, relay.public.gate);
    this.exit = new ExitSessions({
      keys: importKeyPair(relay.exposeSessionKey()),
      peerOf: () => 'alice',
      isOverloaded: () => this.isOverloaded,
      acceptor: ECHO,
      logger: silentLogger,
      clock,
    });
    atEnd(() => clock.run(this.exit.close(0)));
    const invite = {
      relayUrls: Object.keys(answers),
      relayGateKey: relay.public.gate,
      exitSessionKey: relay.public.session,
      exitName: 'home',
      peer,
    };
    const pages = {
      pages: 1,
      eachPage: [],
      dial: async (makeUrl: (skewMs: number) => string) => Object.assign(this.link(makeUrl(0)), { asked: this.url }),
    };
    this.dialer = new RelaySessionDialer(invite, 'on', silentLogger, {
      clock,
      tether: { pages, direct: dialDirectly !== undefined },
      dialLink: async ({ host }) => dialDirectly?.(`wss://${host}`) ?? Promise.reject(new WstunError('internal')),
    });
  }

  /** How a dial ended. */
  async dial(purpose?: LinkPurpose, from?: SessionPlace): Promise<string> {
    this.asked.length = 0;
    const request = () => ({ kind: 'begin', id: Buffer.alloc(16, this.count++), received: 0 }) as const;
    const dialled = this.dialer.dial(request, never, purpose, from);
    return await this.clock.run(
      dialled.then(
        ({ link }) => {
          link.abort();
          return 'opened';
        },
        ({ fault }: { fault: string }) => fault,
      ),
    );
  }

  private count = 0;
  private url = '';

  private link(url: string): MessageLink {
    this.url = url;
    const relay = new URL(url).origin === 'null' ? `wss://${new URL(url).host}` : new URL(url).origin;
    this.asked.push(relay);
    const [client, far] = memoryLinkPair({ clock: this.clock });
    const answer = this.answers[relay] ?? 'internal';
    this.isOverloaded = answer === 'overloaded';
    if (answer === 'serves' || answer === 'overloaded') {
      this.exit.serve(far);
      return client;
    }
    if (answer === 'silent') return this.silenced(client, far);
    const ticket = new URL(url).pathname.slice(1);
    far.setHandler({ handleMessage() {}, handleDrain() {}, handleClose() {} });
    far.send(encodeNotice(answer, answer === 'keys-rotated' ? this.sealer.rotationProof(ticket) : undefined));
    far.close();
    return client;
  }

  /** Lets two messages of the client through, as many as its handshake has. */
  private silenced(client: MessageLink, far: MessageLink): MessageLink {
    const [near, exit] = memoryLinkPair({ clock: this.clock });
    let left = 2;
    far.setHandler({
      handleMessage: (message) => void (left-- > 0 && near.send(message)),
      handleDrain() {},
      handleClose: () => near.abort(),
    });
    near.setHandler({ handleMessage: (message) => void far.send(message), handleDrain() {}, handleClose() {} });
    this.exit.serve(exit);
    return client;
  }
}

describe('a page beside direct dials to several relays', () => {
  it('a phone is asked where one relay has no exit, and another one cannot be reached directly', async () => {
    const world = new World({ [A]: 'exit-absent', [B]: 'serves' }, (relay) => {
      throw new WstunError(relay === A ? 'exit-absent' : 'relay-unreachable', 'no answer');
    });
    expect(await world.dial()).toBe('exit-absent');
    expect(await world.dial()).toBe('opened');
    expect(world.asked).toEqual([B]);
  });

  it('a phone is not asked where all relays have said that they have no exit', async () => {
    const world = new World({ [A]: 'serves', [B]: 'serves' }, () => {
      throw new WstunError('exit-absent');
    });
    for (let i = 0; i < 2; i++) expect(await world.dial()).toBe('exit-absent');
    expect(world.asked).toEqual([]);
  });
});

describe('a page and several relays', () => {
  it.each<WireFaultName>(['exit-absent', 'overloaded'])(
    'a page is asked for the next relay after the first one, or its exit, has said on a link: %s',
    async (answer) => {
      const world = new World({ [A]: answer, [B]: 'serves' });
      expect(await world.dial()).toBe(answer);
      expect(await world.dial()).toBe('opened');
      expect(world.asked).toEqual([B]);
      expect(await world.dial()).toBe('opened');
      expect(world.asked).toEqual([B]);
    },
  );

  it('a page is asked for the next relay after a link by the first one has brought no answer of the exit', async () => {
    const world = new World({ [A]: 'silent', [B]: 'serves' });
    expect(await world.dial()).toBe('link-slow');
    expect(await world.dial()).toBe('opened');
    expect(world.asked).toEqual([B]);
  });

  it('a relay whose keys were rotated ends no client whose page reaches another one', async () => {
    const world = new World({ [A]: 'keys-rotated', [B]: 'serves' });
    expect(await world.dial()).toBe('opened');
    expect(world.asked).toEqual([A, B]);
    const absent = new World({ [A]: 'keys-rotated', [B]: 'exit-absent' });
    expect(await absent.dial()).toBe('exit-absent');
    expect(await absent.dial()).toBe('exit-absent');
  });

  it('a client whose page reaches only relays with other keys is told that they were rotated', async () => {
    const world = new World({ [A]: 'keys-rotated', [B]: 'keys-rotated' });
    expect(await world.dial()).toBe('keys-rotated');
    expect(world.asked).toEqual([A, B]);
  });

  it('a page is asked for the relay of the session where the link is one more of it', async () => {
    const world = new World({ [A]: 'serves', [B]: 'serves' });
    expect(await world.dial('further', { relay: B, isStalled: false })).toBe('opened');
    expect(world.asked).toEqual([B]);
  });
});
