import { randomBytes } from 'node:crypto';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { createIdentity } from '../../../src/crypto/keys.ts';
import { TicketOpener } from '../../../src/crypto/ticket.ts';
import { WstunError } from '../../../src/errors.ts';
import { silentLogger } from '../../../src/observability/logger.ts';
import { startRelayServer } from '../../../src/relay/relay-server.ts';
import {
  type ControlMessage,
  decodeControl,
  ELSEWHERE_FEATURE,
  encodeControl,
  INSTANCE_FEATURE,
  WHEN_FREE_FEATURE,
} from '../../../src/transport/control-messages.ts';
import type { MessageLink } from '../../../src/transport/message-link.ts';
import { RelayRoutes } from '../../../src/tunnel/dial/relay-routes.ts';
import { TicketDialer } from '../../../src/tunnel/dial/ticket-dialer.ts';
import { CallAnswers } from '../../../src/tunnel/session/call-answers.ts';
import { ExitRegistration } from '../../../src/tunnel/session/exit-registration.ts';
import { OtherRelays } from '../../../src/tunnel/session/other-relays.ts';
import { faultOfPromise } from '../../support/faults.ts';
import { LinkRecorder } from '../../support/links/link-recorder.ts';
import { memoryLinkPair } from '../../support/links/memory-link.ts';
import { VirtualClock } from '../../support/time/virtual-clock.ts';

const TOKEN = '0123456789abcdef'.repeat(2);
const key = (): string => randomBytes(32).toString('base64url');

/** A relay in memory; each dial is noted, and may be made to fail. */
class MemoryRelay {
  readonly faults: WstunError[] = [];
  readonly dials: string[] = [];
  /** Of the ticket of each. */
  readonly features: number[] = [];
  readonly links: { link: MessageLink; at: LinkRecorder }[] = [];
  readonly nears: MessageLink[] = [];
  release: () => void = () => {};
  private held: Promise<void> = Promise.resolve();

  /** Dials have no outcome until `release`. */
  hold(): void {
    this.held = new Promise((resolve) => {
      this.release = resolve;
    });
  }

  dial = async (
    relay: string,
    { role, destination, features = 0 }: { role: string; destination: string; features?: number },
  ): Promise<MessageLink> => {
    this.dials.push(`${relay} ${role} ${destination}`);
    this.features.push(features);
    await this.held;
    const fault = this.faults.shift();
    if (fault) throw fault;
    const [near, far] = memoryLinkPair();
    this.nears.push(near);
    this.links.push({ link: far, at: new LinkRecorder(far) });
    return near;
  };

  rotationProofOf = (): Buffer => Buffer.alloc(32, 7);

  said(at: number): (ControlMessage | undefined)[] {
    return (this.links[at]?.at.messages ?? []).map((message) => decodeControl([message]));
  }

  say(at: number, message: ControlMessage): void {
    this.links[at]?.link.send(encodeControl(message));
  }
}

function setUp(options = {}) {
  const clock = new VirtualClock();
  const until = (isDone: () => boolean, limitMs = 3_600_000): Promise<void> => clock.advanceUntil(isDone, limitMs);
  const relays = new MemoryRelay();
  const log: string[] = [];
  const links: MessageLink[] = [];
  const handler = {
    handleUp() {},
    handleDown() {},
    handleInstance: (id: string) => void log.push(`instance ${id}`),
    handleRegistered: () => void log.push('registered'),
    handleSeen: (address: string) => void log.push(`seen ${address}`),
    handleTaken: (keys: number, of: number) => void log.push(`${keys} of ${of}`),
    handleLost: ({ fault }: WstunError) => void log.push(fault),
  };
  // One attempt a dial: what a test says about failures holds for each.
  const routes = new RelayRoutes({ clock, transport: 'websocket' });
  const answers = new CallAnswers({ onLink: (link) => void links.push(link), logger: silentLogger, clock });
  const others = new OtherRelays(['ws://b.example']);
  const given = { relay: 'a', dialer: relays, handler, answers, others, routes, clock };
  const registration = new ExitRegistration({ ...given, ...options });
  onTestFinished(() => {
    registration.close();
    for (const { link } of relays.links) link.abort();
  });
  return { clock, until, relays, log, links, handler, registration };
}

describe('calls to another relay', () => {
  async function called(url: string, fault?: WstunError) {
    const all = setUp();
    const run = all.registration.run();
    await all.until(() => all.relays.links.length === 1);
    if (fault !== undefined) all.relays.faults.push(fault);
    all.relays.say(0, { type: 'call', token: TOKEN, relay: url });
    const refusals = () => all.relays.said(0).filter((message) => message?.type === 'unreached');
    await all.until(() => all.links.length > 0 || refusals().length > 0);
    all.registration.close();
    await run;
    return { dials: all.relays.dials.slice(1), refusals: refusals(), links: all.links.length, all };
  }

  it('an exit says that it can be called to another relay, and answers there', async () => {
    const { dials, refusals, links, all } = await called('ws://b.example');
    expect((all.relays.features[0] ?? 0) & ELSEWHERE_FEATURE).not.toBe(0);
    expect([dials, refusals, links]).toEqual([[`ws://b.example exit ${TOKEN}`], [], 1]);
  });

  it('an exit that gets no link to another relay, or may not go there, says so', async () => {
    const refusal = { type: 'unreached', token: TOKEN };
    const unreachable = await called('ws://b.example', new WstunError('relay-unreachable'));
    expect([unreachable.refusals, unreachable.links]).toEqual([[refusal], 0]);
    const inside = await called('ws://10.0.0.1/admin');
    expect([inside.dials, inside.refusals]).toEqual([[], [refusal]]);
  });

  it('an exit that hears nothing of another relay says so while the client is still held', async () => {
    const { until, relays, registration, clock } = setUp();
    const run = registration.run();
    await until(() => relays.links.length === 1);
    relays.hold();
    relays.say(0, { type: 'call', token: TOKEN, relay: 'wss://c.example' });
    const start = clock.now();
    // A dialer ends with its signal; this one does not, and is released.
    await until(() => relays.dials.length === 2);
    await clock.advance(3_000);
    relays.faults.push(new WstunError('dial-cancelled'));
    relays.release();
    await until(() => relays.said(0).some((message) => message?.type === 'unreached'));
    expect(clock.now() - start).toBeLessThan(4_000);
    registration.close();
    await run;
  });
});

describe('ExitRegistration', () => {
  it('ExitRegistration announces its list at first and at each change, and reports once that it is registered', async () => {
    const { until, relays, registration, log } = setUp();
    const [first, second] = [key(), key()];
    registration.setPeers([first]);
    const run = registration.run();
    await until(() => relays.said(0).length === 1);
    relays.say(0, { type: 'registered' });
    registration.setPeers([first, second]);
    await until(() => relays.said(0).length === 2);
    relays.say(0, { type: 'registered' });
    await until(() => log.length === 1);
    expect(relays.said(0)).toEqual([
      { type: 'bearers', keys: [first], more: false },
      { type: 'bearers', keys: [first, second], more: false },
    ]);
    registration.close();
    await run;
    expect([relays.dials, log]).toEqual([['a exit '], ['registered']]);
  });

  it('ExitRegistration announces the first and the last of many changes within a second', async () => {
    const { until, relays, registration } = setUp();
    const run = registration.run();
    await until(() => relays.said(0).length === 1);
    const lists = Array.from({ length: 100 }, () => [key()]);
    for (const list of lists) registration.setPeers(list);
    await until(() => relays.said(0).length === 2);
    expect(relays.said(0)[1]).toEqual({ type: 'bearers', keys: lists.at(-1), more: false });
    registration.close();
    await run;
  });

  it('ExitRegistration reports how many of its keys the relay has room for, and when all are registered', async () => {
    const { until, relays, registration, log } = setUp();
    registration.setPeers([key(), key()]);
    const run = registration.run();
    await until(() => relays.said(0).length === 1);
    relays.say(0, { type: 'taken', keys: 1, of: 2 });
    relays.say(0, { type: 'registered' });
    await until(() => log.length === 2);
    expect(log).toEqual(['1 of 2', 'registered']);
    registration.close();
    await run;
  });

  it('ExitRegistration reports under which address the relay sees it', async () => {
    const { until, relays, registration, log } = setUp();
    const run = registration.run();
    await until(() => relays.said(0).length === 1);
    relays.say(0, { type: 'seen', address: '93.184.216.34' });
    relays.say(0, { type: 'registered' });
    await until(() => log.length === 2);
    expect(log).toEqual(['seen 93.184.216.34', 'registered']);
    registration.close();
    await run;
  });

  it('ExitRegistration answers a hundred requests at once without a warning of too many listeners', async () => {
    const { until, relays, registration, links } = setUp();
    const warnings: string[] = [];
    const onWarning = ({ name }: Error): void => void warnings.push(name);
    process.on('warning', onWarning);
    onTestFinished(() => void process.off('warning', onWarning));
    const run = registration.run();
    await until(() => relays.links.length === 1);
    relays.hold();
    for (let i = 0; i < 100; i++) relays.say(0, { type: 'call', token: TOKEN });
    await until(() => relays.dials.length === 101);
    relays.release();
    await until(() => links.length === 100);
    expect(warnings).toEqual([]);
    registration.close();
    await run;
  });

  it('ExitRegistration answers a request at the relay that sent it, and continues when that fails', async () => {
    const { until, relays, registration, links } = setUp();
    const run = registration.run();
    await until(() => relays.links.length === 1);
    relays.faults.push(new WstunError('relay-refused'));
    relays.say(0, { type: 'call', token: TOKEN });
    relays.say(0, { type: 'call', token: TOKEN });
    await until(() => links.length === 1);
    expect(relays.dials).toEqual(['a exit ', `a exit ${TOKEN}`, `a exit ${TOKEN}`]);
    registration.close();
    await run;
  });

  it('ExitRegistration registers again after a lost link, after a message that only an exit may send, and after refusals', async () => {
    const { until, relays, registration, log } = setUp();
    const run = registration.run();
    await until(() => relays.links.length === 1);
    relays.links[0]?.link.abort();
    await until(() => relays.links.length === 2);
    relays.say(1, { type: 'bearers', keys: [], more: false });
    await until(() => relays.links.length === 3);
    const refusals = Array.from({ length: 30 }, () => 'relay-refused' as const);
    relays.faults.push(...refusals.map((fault) => new WstunError(fault)));
    relays.links[2]?.link.close();
    await until(() => relays.links.length === 4);
    expect(log).toEqual(['link-lost', 'link-lost', 'link-lost', ...refusals]);
    registration.close();
    await run;
  });

  it('ExitRegistration replaces its link at once when the network changes, without a clean close of the old one', async () => {
    const { until, relays, registration } = setUp();
    const run = registration.run();
    await until(() => relays.links.length === 1);
    const goodbye = vi.spyOn(relays.nears[0] as MessageLink, 'close').mockReturnValue();
    registration.reconnectNow();
    await until(() => relays.links.length === 2, 1_000);
    expect(goodbye).not.toHaveBeenCalled();
    registration.close();
    await run;
  });

  it('ExitRegistration ends when the relay proves that its keys were rotated, but not at a wrong proof', async () => {
    const { until, relays, registration, log } = setUp();
    const run = faultOfPromise(registration.run());
    await until(() => relays.links.length === 1);
    relays.say(0, { type: 'rotated', proof: '08'.repeat(32) });
    await until(() => relays.links.length === 2);
    relays.say(1, { type: 'rotated', proof: '07'.repeat(32) });
    relays.links[1]?.link.close();
    expect(await run).toBe('keys-rotated');
    expect(log).toEqual(['link-lost']);
  });

  it('ExitRegistration waits after a newer exit of its name has replaced it, and registers again', async () => {
    const { until, relays, registration, log } = setUp();
    const run = registration.run();
    await until(() => relays.links.length === 1);
    relays.say(0, { type: 'replaced' });
    relays.links[0]?.link.close();
    await until(() => relays.links.length === 2);
    expect(log).toEqual(['exit-replaced']);
    registration.close();
    await run;
  });

  it('ExitRegistration asks a relay where another exit has its name to register it only when that is free, until it is registered', async () => {
    const { until, relays, registration, log } = setUp();
    const run = registration.run();
    for (let i = 0; i < 3; i++) {
      await until(() => relays.links.length === i + 1);
      relays.say(i, { type: 'occupied' });
      relays.links[i]?.link.close();
    }
    await until(() => relays.links.length === 4);
    relays.say(3, { type: 'registered' });
    await until(() => log.at(-1) === 'registered');
    relays.links[3]?.link.close();
    await until(() => relays.links.length === 5);
    expect(log).toEqual([...Array(3).fill('exit-replaced'), 'registered', 'link-lost']);
    const asksPolitely = relays.features.map((bits) => (bits & WHEN_FREE_FEATURE) !== 0);
    expect(asksPolitely).toEqual([false, true, true, true, false]);
    registration.close();
    await run;
  });

  it('ExitRegistration that is alone does not ask which relay it is, and is told by one that says so', async () => {
    const { until, relays, registration, log } = setUp();
    const run = registration.run();
    await until(() => relays.links.length === 1);
    relays.say(0, { type: 'instance', id: TOKEN });
    await until(() => log.length === 1);
    expect([log, (relays.features[0] ?? 0) & INSTANCE_FEATURE]).toEqual([[`instance ${TOKEN}`], 0]);
    registration.close();
    await run;
  });

  it('ExitRegistration that an older relay replaces repeatedly reports what that means', async () => {
    const { until, relays, registration, handler } = setUp();
    const told: string[] = [];
    vi.spyOn(handler, 'handleLost').mockImplementation(({ detail }) => void told.push(detail));
    const run = registration.run();
    for (let i = 0; i < 3; i++) {
      await until(() => relays.links.length === i + 1);
      relays.say(i, { type: 'registered' });
      relays.say(i, { type: 'replaced' });
      relays.links[i]?.link.close();
    }
    await until(() => told.length === 3);
    expect(told[0]).toBe('');
    for (const detail of told.slice(1)) expect(detail).toContain('the two exits replace each other');
    registration.close();
    await run;
  });

  it('ExitRegistration that is closed during a dial closes the link that comes of it', async () => {
    const { until, relays, registration } = setUp();
    relays.hold();
    const run = registration.run();
    await until(() => relays.dials.length === 1);
    registration.close();
    await run;
    relays.release();
    await until(() => relays.links[0]?.at.closes.length === 1);
  });
});

describe('TicketDialer', () => {
  it('TicketDialer takes the relays in turn, and states role and destination in a ticket that opens', async () => {
    const [relay, peer] = [createIdentity(), createIdentity()];
    const tickets = new TicketOpener(relay);
    tickets.setPeers([{ name: 'home', gateKey: peer.public.gate, role: 'exit', destination: '' }]);
    const admitted: object[] = [];
    const server = await startRelayServer({
      listen: [{ host: '127.0.0.1', port: 0 }],
      tickets,
      logger: silentLogger,
      onLink: (link, fields) => {
        new LinkRecorder(link);
        admitted.push(fields);
        link.close();
      },
    });
    onTestFinished(() => server.close());
    const url = `ws://127.0.0.1:${server.addresses[0]?.port}`;
    const invite = { relayUrls: [url, 'ws://elsewhere'], relayGateKey: relay.public.gate, peer };
    const dialer = new TicketDialer(invite, silentLogger);
    const signal = AbortSignal.timeout(5_000);
    for (const destination of ['', TOKEN]) {
      const link = await dialer.dial(url, { role: 'exit', destination }, { signal });
      await new LinkRecorder(link).untilClosed();
    }
    expect(admitted).toMatchObject([
      { role: 'exit', destination: '' },
      { role: 'exit', destination: TOKEN },
    ]);
    expect(await faultOfPromise(dialer.dial(url, { role: 'client', destination: '' }, { signal }))).toBe(
      'relay-refused',
    );
  });
});
