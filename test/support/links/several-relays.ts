/**
 * Several relays in memory and in virtual time, and a client with all of them in its invite: each can be stopped as by
 * SIGSTOP (it accepts TCP and keeps what comes), be gone, or have no exit. They lead to one exit, or each to its own.
 */
import { sleep } from '../../../src/async/abortable.ts';
import type { Timer } from '../../../src/clock.ts';
import { createIdentity } from '../../../src/crypto/keys.ts';
import { TicketOpener } from '../../../src/crypto/ticket.ts';
import { importKeyPair } from '../../../src/crypto/x25519.ts';
import { WstunError } from '../../../src/errors.ts';
import type { MuxConfig } from '../../../src/mux/config.ts';
import { silentLogger } from '../../../src/observability/logger.ts';
import type { ToldRelays } from '../../../src/protocol/relays.ts';
import type { Message, MessageLink } from '../../../src/transport/message-link.ts';
import type { RouteNotice } from '../../../src/tunnel/dial/relay-routes.ts';
import { RelaySessionDialer } from '../../../src/tunnel/dial/session-dialer.ts';
import { ExitSessions } from '../../../src/tunnel/session/exit-sessions.ts';
import { type ClientOptions, TunnelClient } from '../../../src/tunnel/session/tunnel-client.ts';
import type { StreamAcceptor, TunnelStream } from '../../../src/tunnel/stream/stream.ts';
import { atEnd } from '../scope.ts';
import { VirtualClock } from '../time/virtual-clock.ts';
import { ECHO } from './echoing.ts';
import { memoryLinkPair } from './memory-link.ts';

type RelayState = 'works' | 'stopped' | 'gone' | 'no exit';

export interface RelaysOptions {
  readonly relays?: number;
  /** Default: one exit behind all of them. */
  readonly ownExits?: boolean;
  /** Of each message, ms. */
  readonly oneWayMs?: number;
  readonly acceptor?: StreamAcceptor;
  /** How many of the relays the invite names. Default: all. */
  readonly invited?: number;
  readonly exitMux?: Partial<Omit<MuxConfig, 'role'>>;
  readonly client?: Omit<ClientOptions, 'clock'>;
}

/** One relay, and the links that it has spliced. */
class Relay {
  state: RelayState = 'works';
  dials = 0;
  /** Bytes of each link, both ways together, that the network lets pass. */
  freezesAfter = Number.POSITIVE_INFINITY;
  private readonly clock: VirtualClock;
  private readonly oneWayMs: number;
  private readonly held: (() => void)[] = [];
  private readonly ends = new Set<MessageLink>();
  readonly exit: ExitSessions;

  constructor(clock: VirtualClock, oneWayMs: number, exit: ExitSessions) {
    this.clock = clock;
    this.oneWayMs = oneWayMs;
    this.exit = exit;
  }

  /** As by SIGSTOP, and back. */
  stop(): void {
    this.state = 'stopped';
  }

  go(): void {
    this.state = 'works';
    for (const act of this.held.splice(0)) act();
  }

  /** As by kill -9. */
  kill(): void {
    this.state = 'gone';
    this.held.length = 0;
    for (const end of this.ends) end.abort();
    this.ends.clear();
  }

  async dial(peer: string, signal: AbortSignal, onConnected: (() => void) | undefined): Promise<MessageLink> {
    this.dials += 1;
    await sleep(this.clock, 2 * this.oneWayMs, signal);
    if (this.state === 'gone') throw new WstunError('relay-unreachable', 'connection refused');
    onConnected?.();
    await sleep(this.clock, 2 * this.oneWayMs, signal);
    await this.awaken(signal);
    if (signal.aborted) throw new WstunError('dial-cancelled');
    if (this.state === 'no exit') throw new WstunError('exit-absent');
    const [client, near] = memoryLinkPair({ clock: this.clock });
    const [far, exit] = memoryLinkPair({ clock: this.clock });
    const passed = { bytes: 0, most: this.freezesAfter };
    this.splice(near, far, passed);
    this.splice(far, near, passed);
    this.exit.serve(exit, peer);
    return client;
  }

  private awaken(signal: AbortSignal): Promise<void> {
    if (this.state !== 'stopped') return Promise.resolve();
    return new Promise((resolve) => {
      this.held.push(resolve);
      signal.addEventListener('abort', () => resolve());
    });
  }

  private splice(from: MessageLink, to: MessageLink, passed: { bytes: number; readonly most: number }): void {
    this.ends.add(from);
    from.setHandler({
      handleMessage: (message: Message) => {
        passed.bytes += message.reduce((sum, piece) => sum + piece.length, 0);
        if (passed.bytes <= passed.most) this.after(() => void to.send(message));
      },
      handleDrain() {},
      handleClose: ({ clean }) => {
        this.ends.delete(from);
        this.after(() => (clean ? to.close() : to.abort()));
      },
    });
  }

  /** What comes while it is stopped waits until it goes on. */
  private after(act: () => void): void {
    const pass = (): void => {
      if (this.state === 'stopped') this.held.push(pass);
      else act();
    };
    this.clock.setTimeout(pass, this.oneWayMs);
  }
}

export class SeveralRelays {
  readonly clock = new VirtualClock();
  readonly client: TunnelClient;
  readonly urls: readonly string[];
  readonly notices: RouteNotice[] = [];
  /** What the client has reported. */
  readonly log: string[] = [];
  /** What the exits tell of relays. */
  told: ToldRelays | undefined;
  readonly exits: ExitSessions[] = [];
  private readonly all = new Map<string, Relay>();

  constructor(options: RelaysOptions = {}) {
    const { relays = 3, ownExits = false, oneWayMs = 5, acceptor = ECHO, exitMux, client = {} } = options;
    const { clock } = this;
    const [relay, peer] = [createIdentity(), createIdentity()];
    const tickets = new TicketOpener(relay);
    const destination = ownExits ? '' : 'home';
    tickets.setPeers([{ name: 'alice', gateKey: peer.public.gate, role: 'client', destination }]);
    const exitOf = (): ExitSessions => {
      const keys = importKeyPair(relay.exposeSessionKey());
      const exit = new ExitSessions({
        ...{ keys, peerOf: () => 'alice', acceptor, logger: silentLogger, clock },
        ...(exitMux && { mux: exitMux }),
        relays: () => this.told,
      });
      this.exits.push(exit);
      atEnd(() => clock.run(exit.close(0)));
      return exit;
    };
    const shared = exitOf();
    this.urls = Array.from({ length: relays }, (_, at) => `wss://${'abcdefgh'[at]}.test`);
    for (const url of this.urls) this.all.set(url, new Relay(clock, oneWayMs, ownExits ? exitOf() : shared));
    const invite = {
      relayUrls: this.urls.slice(0, options.invited),
      relayGateKey: relay.public.gate,
      exitSessionKey: relay.public.session,
      exitName: ownExits ? undefined : 'home',
      peer,
    };
    const dialer = new RelaySessionDialer(invite, 'on', silentLogger, {
      clock,
      dialLink: async (url, { signal, onConnected }) => {
        const ticket = tickets.open(url.pathname.slice(1), clock.wallTime());
        if (!ticket.admitted) throw new Error('the ticket does not open');
        return await this.at(url.origin.replace(/^null$/, `wss://${url.host}`)).dial(ticket.peer, signal, onConnected);
      },
      routes: { transport: 'websocket', onNotice: (notice) => this.notices.push(notice) },
    });
    this.dialer = dialer;
    const onRelays = ({ urls }: ToldRelays): void => {
      this.log.push(`told ${urls.length}`);
      if (dialer.learnRelays(urls)) this.client.followRelays();
    };
    this.client = new TunnelClient(dialer, this.observer(), silentLogger, { onRelays, ...client, clock });
    this.client.run().catch((error: WstunError) => this.log.push(`ended ${error.fault}`));
    atEnd(() => clock.run(this.client.close(0)));
  }

  readonly dialer: RelaySessionDialer;

  private observer() {
    return {
      onConnected: () => void this.log.push('connected'),
      onLinkLost: () => void this.log.push('lost'),
      onResumed: () => void this.log.push('resumed'),
      onStalled: () => void this.log.push('stalled'),
      onSessionLost: ({ fault }: WstunError) => void this.log.push(`session lost: ${fault}`),
      onFailed: ({ fault }: WstunError) => void this.log.push(`failed: ${fault}`),
      onLimit: ({ by }: { by: string }) => void this.log.push(`limit: ${by}`),
    };
  }

  set freezesAfter(bytes: number) {
    for (const relay of this.all.values()) relay.freezesAfter = bytes;
  }

  /** @param relay its URL, or its place in the invite */
  at(relay: string | number): Relay {
    const found = this.all.get(typeof relay === 'number' ? (this.urls[relay] ?? '') : relay);
    if (found === undefined) throw new Error(`there is no relay ${relay}`);
    return found;
  }

  /** The place in the invite of the relay by which the session goes; -1: none. */
  get current(): number {
    return this.urls.indexOf(this.client.status().route?.relay ?? '');
  }

  async connected(): Promise<void> {
    await this.clock.advanceUntil(() => this.log.includes('connected'), 60_000);
  }

  async open(): Promise<TunnelStream> {
    const target = { kind: 'name', name: 'example.org', port: 80 } as const;
    return await this.clock.run(this.client.open(target, new AbortController().signal));
  }
}

/** Sends a byte on a stream every `everyMs`, and measures when each comes back. */
export class Echoes {
  /** Round trips, ms, in the order in which the bytes were sent. */
  readonly tookMs: number[] = [];
  private readonly sentAt: number[] = [];
  private received = 0;
  private timer: Timer | undefined;
  private readonly clock: VirtualClock;
  private readonly stream: TunnelStream;

  constructor(clock: VirtualClock, stream: TunnelStream, everyMs = 50) {
    this.clock = clock;
    this.stream = stream;
    stream.on('data', (bytes: Buffer) => this.handleData(bytes));
    stream.on('error', () => {});
    const tick = (): void => {
      this.stream.write(Uint8Array.of(this.sentAt.length % 251));
      this.sentAt.push(clock.now());
      this.timer = clock.setTimeout(tick, everyMs);
    };
    tick();
    atEnd(() => this.end());
  }

  /** The longest of those that were sent since. */
  longestSince(at: number): number {
    return Math.max(0, ...this.tookMs.filter((_, n) => (this.sentAt[n] ?? 0) >= at));
  }

  /** What was sent and is not back. */
  get missing(): number {
    return this.sentAt.length - this.received;
  }

  end(): void {
    this.clock.clearTimeout(this.timer);
    this.timer = undefined;
  }

  private handleData(bytes: Buffer): void {
    for (const byte of bytes) {
      if (byte !== this.received % 251) throw new Error(`byte ${this.received} is wrong`);
      this.tookMs.push(this.clock.now() - (this.sentAt[this.received] ?? 0));
      this.received += 1;
    }
  }
}
