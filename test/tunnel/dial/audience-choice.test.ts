/** For which relay the tickets of a client or an exit are, at each URL of its invite. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createIdentity } from '../../../src/crypto/keys.ts';
import { audienceOf, HTTP_FEATURE, TicketOpener } from '../../../src/crypto/ticket.ts';
import { WstunError } from '../../../src/errors.ts';
import { silentLogger } from '../../../src/observability/logger.ts';
import { RelayRefused } from '../../../src/transport/answer-faults.ts';
import { DialError } from '../../../src/transport/dial-obstacle.ts';
import type { MessageLink } from '../../../src/transport/message-link.ts';
import { AudienceChoice } from '../../../src/tunnel/dial/audience-choice.ts';
import { TetherConnector } from '../../../src/tunnel/dial/connectors.ts';
import { TicketDialer, type TicketDialOptions, type TicketScope } from '../../../src/tunnel/dial/ticket-dialer.ts';
import { RelayList } from '../../../src/tunnel/routes/relay-list.ts';
import { memoryLinkPair } from '../../support/links/memory-link.ts';
import { never } from '../../support/never.ts';
import { VirtualClock } from '../../support/time/virtual-clock.ts';

const A = 'wss://a.example';
const B = 'wss://b.example/any/path';
const C = 'wss://c.example';
const CLIENT: TicketScope = { role: 'client', destination: '' };
const MINUTE = 60_000;

const refused = (): WstunError => new RelayRefused('a.example:443: HTTP 404', undefined);

/** Relays that share keys, and a dialer whose dials reach them. */
class Relays {
  readonly clock = new VirtualClock();
  readonly dialer: TicketDialer;
  /** Each ticket: where it came, and for which relay it was. */
  readonly asked: string[] = [];
  /** By URL: the audiences of what is there. */
  readonly there = new Map<string, readonly string[]>();
  /** What a rejected ticket gets. */
  fault: () => WstunError = refused;
  private readonly openers = new Map<string, TicketOpener>();
  private readonly relay = createIdentity();
  private readonly peer = createIdentity();

  constructor(
    readonly urls: readonly string[],
    there: Readonly<Record<string, readonly string[]>>,
  ) {
    for (const [url, own] of Object.entries(there)) this.there.set(url, own);
    const invite = { relayUrls: urls, relayGateKey: this.relay.public.gate, peer: this.peer };
    const { clock } = this;
    this.dialer = new TicketDialer(invite, silentLogger, {
      clock,
      dialLink: async (url) => {
        this.open(url);
        return memoryLinkPair()[0];
      },
    });
  }

  /** @throws the fault */
  open(url: URL): void {
    const at = this.urls.find((each) => url.href.startsWith(`${each}/`)) ?? '';
    const decision = this.openerAt(at).open(url.href.slice(at.length + 1), this.clock.wallTime());
    const opened = decision.admitted ? undefined : decision.meant;
    this.asked.push(`${at} for ${decision.admitted ? 'it' : opened}`);
    if (!decision.admitted) throw this.fault();
  }

  dial(url: string, options: Partial<TicketDialOptions> = {}, scope = CLIENT): Promise<MessageLink> {
    return this.dialer.dial(url, scope, { signal: never, ...options });
  }

  /** What was asked since. */
  take(): string[] {
    return this.asked.splice(0);
  }

  private openerAt(url: string): TicketOpener {
    const known = this.openers.get(url);
    if (known !== undefined) return known;
    const urlOf = (audience: bigint) => this.urls.find((each) => audienceOf(each) === audience);
    const has = (audience: bigint) => (this.there.get(url) ?? []).map(audienceOf).includes(audience);
    const opener = new TicketOpener(this.relay, { audiences: { has, urlOf } });
    const gateKey = this.peer.public.gate;
    opener.setPeers(
      ['client', 'exit'].map((role) => ({ name: 'a', gateKey, role: role as 'client' | 'exit', destination: '' })),
    );
    this.openers.set(url, opener);
    return opener;
  }
}

describe('the tickets of a dialer', () => {
  it('each is for the relay of the URL that is dialled, whatever the carrier and the role', async () => {
    const relays = new Relays([A, B], { [A]: [A], [B]: [B] });
    for (const url of [A, B, A]) await relays.dial(url);
    await relays.dial(B, { route: { carrier: 'http' } });
    await relays.dial(B, {}, { role: 'exit', destination: '' });
    expect(relays.take()).toEqual([A, B, A, B, B].map((url) => `${url} for it`));
    const { url, httpLinkKey } = relays.dialer.ticketUrl(A, { ...CLIENT, features: HTTP_FEATURE });
    expect(httpLinkKey).toBeDefined();
    expect(() => relays.open(url)).not.toThrow();
  });
});

describe('a URL that may be a second name of the first relay', () => {
  it('it is tried with the audience of the first URL after an unproven rejection, and what opened is used from then on', async () => {
    const relays = new Relays([A, B], { [A]: [A], [B]: [A] });
    await relays.dial(B);
    expect(relays.take()).toEqual([`${B} for ${B}`, `${B} for it`]);
    for (let i = 0; i < 3; i++) await relays.dial(B);
    await relays.dial(B, { route: { carrier: 'http' } });
    await relays.dial(A);
    expect(relays.take()).toEqual([B, B, B, B, A].map((url) => `${url} for it`));
  });

  it('the answer may also be that of a site, but not of a gateway that does not reach the relay', async () => {
    const relays = new Relays([A, B], { [B]: [A] });
    relays.fault = () => new DialError('relay-odd-answer', 'HTTP 200', 'answer');
    await relays.dial(B);
    expect(relays.take()).toHaveLength(2);
    const others = [
      () => new DialError('relay-odd-answer', 'HTTP 502', 'gateway'),
      () => new DialError('relay-unreachable', '', 'cut'),
      () => new DialError('login-required', '', 'answer'),
      () => new WstunError('too-often'),
      () => new WstunError('wrong-path'),
    ];
    for (const fault of others) {
      const again = new Relays([A, B], { [B]: [A] });
      again.fault = fault;
      await expect(again.dial(B)).rejects.toMatchObject({ fault: fault().fault });
      expect(again.take()).toHaveLength(1);
    }
  });

  it('at the first URL, and at one that differs from it only in its scheme, there is no other attempt', async () => {
    const relays = new Relays([A, 'ws://a.example:443', B], {});
    for (const url of [A, 'ws://a.example:443']) {
      await expect(relays.dial(url)).rejects.toMatchObject({ fault: 'relay-refused' });
      expect(relays.take()).toHaveLength(1);
    }
  });

  it('where neither opens, both are tried at once, once a minute on each way, and otherwise in turn', async () => {
    const relays = new Relays([A, B, C], {});
    const fails = async (url: string, options: Partial<TicketDialOptions> = {}): Promise<string[]> => {
      await expect(relays.dial(url, options)).rejects.toMatchObject({ fault: 'relay-refused' });
      return relays.take();
    };
    expect(await fails(B)).toEqual([`${B} for ${B}`, `${B} for ${A}`]);
    expect(await fails(C)).toEqual([`${C} for ${C}`, `${C} for ${A}`]);
    for (let i = 0; i < 58; i++) {
      await relays.clock.advance(1_000);
      expect(await fails(B)).toEqual([`${B} for ${i % 2 === 0 ? B : A}`]);
    }
    expect(await fails(B, { route: { carrier: 'http' } })).toEqual([`${B} for ${B}`, `${B} for ${A}`]);
    await relays.clock.advance(2_000);
    expect(await fails(B)).toHaveLength(2);
  });

  it('a second name is found soon, although both were rejected at first', async () => {
    const relays = new Relays([A, B], {});
    await expect(relays.dial(B)).rejects.toMatchObject({ fault: 'relay-refused' });
    relays.there.set(B, [A]);
    await expect(relays.dial(B)).rejects.toMatchObject({ fault: 'relay-refused' });
    await relays.dial(B);
    await relays.dial(B);
    expect(relays.take().slice(2)).toEqual([`${B} for ${B}`, `${B} for it`, `${B} for it`]);
  });

  it('a URL that gets a relay of its own, and one that loses it, is found again', async () => {
    const relays = new Relays([A, B], { [A]: [A], [B]: [A] });
    await relays.dial(B);
    relays.there.set(B, [B]);
    await relays.clock.advance(MINUTE);
    relays.take();
    await relays.dial(B);
    expect(relays.take()).toEqual([`${B} for ${A}`, `${B} for it`]);
    relays.there.set(B, [A]);
    await expect(relays.dial(B)).rejects.toMatchObject({ fault: 'relay-refused' });
    await relays.dial(B);
    expect(relays.take()).toEqual([`${B} for ${B}`, `${B} for it`]);
  });

  it('an attempt that was cancelled, or found no relay, does not count', async () => {
    const relays = new Relays([A, B], { [B]: [A] });
    let isFirst = true;
    relays.fault = () => {
      relays.there.set(B, []);
      const fault = isFirst ? refused() : new WstunError('dial-cancelled');
      isFirst = false;
      return fault;
    };
    await expect(relays.dial(B)).rejects.toMatchObject({ fault: 'dial-cancelled' });
    relays.there.set(B, [A]);
    await relays.dial(B);
    expect(relays.take()).toEqual([`${B} for ${B}`, `${B} for ${A}`, `${B} for it`]);
  });

  it('the tickets that an attempt costs are bounded, whatever is rejected and when', async () => {
    const steps = fc.array(fc.tuple(fc.constantFrom(A, B, C), fc.boolean(), fc.nat(20_000)), { maxLength: 60 });
    fc.assert(
      fc.property(steps, (all) => {
        const choice = new AudienceChoice(A);
        const extra = new Map<string, number>();
        let now = 0;
        for (const [url, opens, passes] of all) {
          now += passes;
          const used = choice.urlFor(url);
          expect([url, A]).toContain(used);
          const other = opens ? undefined : choice.handleRejected(url, used, 'websocket', now);
          if (opens) choice.handleOpened(url, used);
          // What has opened is used again, and what was rejected is not, where there is another one.
          expect(choice.urlFor(url) === used).toBe(opens || url === A);
          if (other === undefined) continue;
          expect(new Set([used, other])).toEqual(new Set([url, A]));
          expect(now - (extra.get(url) ?? -MINUTE)).toBeGreaterThanOrEqual(MINUTE);
          extra.set(url, now);
        }
      }),
    );
  });
});

describe('what is known of relays', () => {
  it('it is kept of 64 relays, because an exit may tell of others again and again', () => {
    const choice = new AudienceChoice(A);
    const urls = Array.from({ length: 100 }, (_, at) => `wss://r${at}.example`);
    for (const url of urls) choice.handleOpened(url, A);
    expect(urls.filter((url) => choice.urlFor(url) === A)).toEqual(urls.slice(36));
  });
});

describe('the tickets of a page', () => {
  /** A page that opens whatever the relay opens. */
  function connectorTo(relays: Relays, fault: 'phone-refused' | 'phone-offline'): TetherConnector {
    const dial = async (makeUrl: (skewMs: number) => string) => {
      const asked = makeUrl(0);
      try {
        relays.open(new URL(asked));
      } catch {
        throw new WstunError(fault);
      }
      return Object.assign(memoryLinkPair()[0], { asked });
    };
    return new TetherConnector(
      relays.dialer,
      new RelayList(relays.urls),
      '',
      { pages: 1, eachPage: [], dial },
      relays.clock,
    );
  }

  it('a second name of the first relay is found by a page, too, and remembered', async () => {
    const relays = new Relays([A, B], { [B]: [A] });
    const connector = connectorTo(relays, 'phone-refused');
    await expect(connector.dial(never)).rejects.toMatchObject({ fault: 'phone-refused' });
    for (let i = 0; i < 2; i++) await connector.dial(never);
    expect(relays.take()).toEqual([`${A} for ${A}`, `${B} for ${B}`, `${B} for it`, `${B} for it`]);
  });

  it('a page that reaches no relay asks nothing twice', async () => {
    const relays = new Relays([B, A], {});
    const connector = connectorTo(relays, 'phone-offline');
    await expect(connector.dial(never)).rejects.toMatchObject({ fault: 'phone-offline' });
    await expect(connector.dial(never)).rejects.toMatchObject({ fault: 'phone-offline' });
    expect(relays.take()).toHaveLength(2);
  });
});
