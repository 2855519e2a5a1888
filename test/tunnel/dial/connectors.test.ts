/** The choice between a direct dial and the phone; the phone's own tickets. In virtual time. */
import { describe, expect, it, vi } from 'vitest';
import { AUDIENCE_FEATURE } from '../../../src/crypto/audience.ts';
import { createIdentity } from '../../../src/crypto/keys.ts';
import { FURTHER_FEATURE, PAGE_FEATURE, TicketOpener } from '../../../src/crypto/ticket.ts';
import { type FaultName, WstunError } from '../../../src/errors.ts';
import { silentLogger } from '../../../src/observability/logger.ts';
import type { MessageLink } from '../../../src/transport/message-link.ts';
import { type Connector, type LinkPurpose, TetherConnector } from '../../../src/tunnel/dial/connectors.ts';
import { type ChosenLink, onlyConnector, PreferredConnector } from '../../../src/tunnel/dial/preferred-connector.ts';
import { TicketDialer, type TicketUrl } from '../../../src/tunnel/dial/ticket-dialer.ts';
import { RelayList } from '../../../src/tunnel/routes/relay-list.ts';
import { memoryLinkPair } from '../../support/links/memory-link.ts';
import { never } from '../../support/never.ts';
import { VirtualClock } from '../../support/time/virtual-clock.ts';

interface Dial {
  readonly signal: AbortSignal;
  readonly purpose: LinkPurpose | undefined;
  /** Brings a link of its own. */
  bring(): MessageLink;
  fail(fault: FaultName): void;
}

/** A way whose dials a test answers. */
class Way implements Connector {
  isAvailable = true;
  /** Not answered yet. */
  readonly dials: Dial[] = [];
  private readonly waiting: (() => void)[] = [];

  dial(signal: AbortSignal, purpose?: LinkPurpose): Promise<MessageLink> {
    return new Promise((resolve, reject) => {
      const bring = (): MessageLink => {
        const [link] = memoryLinkPair();
        resolve(link);
        return link;
      };
      this.dials.push({ signal, purpose, bring, fail: (fault) => reject(new WstunError(fault)) });
      signal.addEventListener('abort', () => reject(new WstunError('dial-cancelled')));
      this.waiting.shift()?.();
    });
  }

  async nextDial(): Promise<Dial> {
    if (this.dials.length === 0) await new Promise<void>((resolve) => this.waiting.push(resolve));
    const dial = this.dials.shift();
    if (dial === undefined) throw new Error('unreachable');
    return dial;
  }
}

interface Ways {
  readonly clock: VirtualClock;
  readonly direct: Way;
  readonly phone: Way;
  readonly way: PreferredConnector<MessageLink>;
}

function ways(): Ways {
  const [clock, direct, phone] = [new VirtualClock(), new Way(), new Way()];
  return { clock, direct, phone, way: new PreferredConnector(onlyConnector(direct), phone, silentLogger, clock) };
}

/** The direct way fails, and the phone brings a link. */
async function dialByPhone({ direct, phone, way }: Ways): Promise<ChosenLink<MessageLink>> {
  const dialled = way.dial(never);
  (await direct.nextDial()).fail('relay-unreachable');
  (await phone.nextDial()).bring();
  return await dialled;
}

/** Whether the phone is asked at once, or after the delay of the direct one; leaves nothing under way. */
async function asksPhoneAtOnce({ clock, direct, phone, way }: Ways): Promise<boolean> {
  const dialled = way.dial(never);
  await clock.advance(1);
  const atOnce = phone.dials.length > 0;
  await clock.advance(998);
  expect(phone.dials.length > 0).toBe(atOnce);
  await clock.advance(1);
  (await phone.nextDial()).bring();
  (await direct.nextDial()).bring();
  await dialled;
  return atOnce;
}

describe('PreferredConnector', () => {
  it('PreferredConnector dials directly where that works, and does not ask the phone', async () => {
    const { clock, direct, phone, way } = ways();
    const dialled = way.dial(never);
    const link = (await direct.nextDial()).bring();
    const chosen = await dialled;
    expect(chosen.link).toBe(link);
    expect(chosen.better).toBeUndefined();
    await clock.advance(5_000);
    expect(phone.dials).toHaveLength(0);
  });

  it('PreferredConnector asks the phone as soon as the direct dial fails, and from then on at once', async () => {
    const { clock, direct, phone, way } = ways();
    for (let i = 0; i < 2; i++) {
      const dialled = way.dial(never);
      const attempt = await direct.nextDial();
      // The second time it hangs, and nobody waits for it.
      if (i === 0) attempt.fail('relay-unreachable');
      await clock.advance(1);
      const link = (await phone.nextDial()).bring();
      expect((await dialled).link).toBe(link);
      if (i === 1) expect(attempt.signal.aborted).toBe(true);
    }
  });

  it('PreferredConnector asks the phone after a second where the direct dial hangs, and from then on at once', async () => {
    const both = ways();
    const dialled = both.way.dial(never);
    await both.clock.advance(999);
    expect(both.phone.dials).toHaveLength(0);
    await both.clock.advance(1);
    const link = (await both.phone.nextDial()).bring();
    expect((await dialled).link).toBe(link);
    expect((await both.direct.nextDial()).signal.aborted).toBe(true);
    expect(await asksPhoneAtOnce(both)).toBe(true);
  });

  it.each(['direct', 'phone'] as const)(
    'PreferredConnector rejects with the phone’s failure when both dials have failed, the %s one first',
    async (failsFirst) => {
      const { clock, direct, phone, way } = ways();
      const dialled = way.dial(never);
      await clock.advance(1_000);
      const [attempt, asked] = [await direct.nextDial(), await phone.nextDial()];
      if (failsFirst === 'direct') attempt.fail('relay-unreachable');
      else asked.fail('phone-offline');
      await clock.advance(1);
      attempt.fail('relay-unreachable');
      asked.fail('phone-offline');
      await expect(dialled).rejects.toMatchObject({ fault: 'phone-offline' });
    },
  );

  it('PreferredConnector returns the direct link where the phone fails first', async () => {
    const { clock, direct, phone, way } = ways();
    const dialled = way.dial(never);
    await clock.advance(1_000);
    (await phone.nextDial()).fail('phone-refused');
    await clock.advance(1);
    const link = (await direct.nextDial()).bring();
    expect((await dialled).link).toBe(link);
  });

  it.each(['relay-unreachable', 'relay-refused'] as const)(
    'PreferredConnector fails as the direct dial does (%s) while there is no phone',
    async (fault) => {
      const { clock, direct, phone, way } = ways();
      phone.isAvailable = false;
      // The second time the phone is waited for beside it, and given up with it.
      for (let i = 0; i < 2; i++) {
        const dialled = way.dial(never);
        const attempt = await direct.nextDial();
        await clock.advance(1);
        const waiting = i === 1 ? await phone.nextDial() : undefined;
        attempt.fail(fault);
        await expect(dialled).rejects.toMatchObject({ fault });
        expect(waiting?.signal.aborted).not.toBe(false);
      }
    },
  );

  it('PreferredConnector returns the link of a phone that joins while the direct dial is under way', async () => {
    const { clock, direct, phone, way } = ways();
    phone.isAvailable = false;
    const failed = way.dial(never);
    (await direct.nextDial()).fail('relay-unreachable');
    await expect(failed).rejects.toMatchObject({ fault: 'relay-unreachable' });
    const dialled = way.dial(never);
    await clock.advance(1);
    phone.isAvailable = true;
    const link = (await phone.nextDial()).bring();
    expect((await dialled).link).toBe(link);
  });

  it('PreferredConnector repeats the direct dial beside a phone that reaches nobody, after 0, 1, 3 and 7 s at most', async () => {
    const { clock, direct, way } = ways();
    const dialled = way.dial(never);
    for (const longestMs of [0, 1_000, 3_000]) {
      await clock.advanceUntil(() => direct.dials.length > 0, longestMs);
      (await direct.nextDial()).fail('relay-unreachable');
    }
    await clock.advanceUntil(() => direct.dials.length > 0, 7_000);
    const link = (await direct.nextDial()).bring();
    expect((await dialled).link).toBe(link);
  });

  it('PreferredConnector waits for the phone after a refusal of the direct dial, once the phone has carried a link', async () => {
    const { direct, phone, way } = ways();
    for (let i = 0; i < 2; i++) {
      const dialled = way.dial(never);
      phone.isAvailable = i === 0;
      (await direct.nextDial()).fail('relay-refused');
      const link = (await phone.nextDial()).bring();
      expect((await dialled).link).toBe(link);
    }
  });

  it('PreferredConnector aborts a link that comes when the other has won', async () => {
    const { clock, direct, phone, way } = ways();
    const dialled = way.dial(never);
    await clock.advance(1_000);
    const [dial, ask] = [await direct.nextDial(), await phone.nextDial()];
    const won = ask.bring();
    const late = dial.bring();
    const aborted = vi.spyOn(late, 'abort');
    expect((await dialled).link).toBe(won);
    await clock.advance(1);
    expect(aborted).toHaveBeenCalled();
  });

  it('PreferredConnector aborts both dials with its signal', async () => {
    const { direct, phone, way } = ways();
    const stop = new AbortController();
    const dialled = way.dial(stop.signal);
    (await direct.nextDial()).fail('relay-unreachable');
    const { signal } = await phone.nextDial();
    stop.abort();
    expect(signal.aborted).toBe(true);
    await expect(dialled).rejects.toMatchObject({ fault: 'dial-cancelled' });
  });
});

describe('an answer of the relay', () => {
  it('the relay’s direct answer that the exit is absent ends the dial without the phone, and shows that direct dials work', async () => {
    const both = ways();
    const { direct, phone, way } = both;
    const dialled = way.dial(never);
    (await direct.nextDial()).fail('exit-absent');
    await expect(dialled).rejects.toMatchObject({ fault: 'exit-absent' });
    expect(phone.dials).toHaveLength(0);
    expect(await asksPhoneAtOnce(both)).toBe(false);
  });

  it('the relay’s answer through the phone that the exit is absent ends the dial, although the direct one hangs', async () => {
    const { clock, phone, way } = ways();
    const dialled = way.dial(never);
    await clock.advance(1_000);
    (await phone.nextDial()).fail('exit-absent');
    await expect(dialled).rejects.toMatchObject({ fault: 'exit-absent' });
  });

  it('the relay’s proof that its keys were rotated is final, also where a phone has carried a link and is gone', async () => {
    const both = ways();
    await dialByPhone(both);
    both.phone.isAvailable = false;
    const dialled = both.way.dial(never);
    (await both.direct.nextDial()).fail('keys-rotated');
    await expect(dialled).rejects.toMatchObject({ fault: 'keys-rotated' });
  });
});

describe('a direct link through which nothing comes', () => {
  /** The direct way has brought a link, of which nothing came, and now there is another dial. */
  async function dialAgain({ clock, direct, way }: Ways) {
    const dialled = way.dial(never);
    (await direct.nextDial()).bring();
    (await dialled).noteSilent?.();
    const again = way.dial(never);
    await clock.advance(1);
    return { dialled: again };
  }

  it('after a silent direct link the next dial asks the phone at once, and 5 s before the direct dial', async () => {
    const both = ways();
    const { dialled } = await dialAgain(both);
    expect(both.phone.dials).toHaveLength(1);
    await both.clock.advance(4_998);
    expect(both.direct.dials).toHaveLength(0);
    const link = (await both.phone.nextDial()).bring();
    expect((await dialled).link).toBe(link);
    await both.clock.advance(60_000);
    expect(both.direct.dials).toHaveLength(0);
  });

  it('after a silent direct link the direct dial follows a phone without a link after 5 s, and one that fails at once', async () => {
    for (const [fails, waitMs] of [
      [false, 5_000],
      [true, 0],
    ] as const) {
      const both = ways();
      const { dialled } = await dialAgain(both);
      const asked = await both.phone.nextDial();
      if (fails) asked.fail('phone-refused');
      await both.clock.advance(waitMs);
      const link = (await both.direct.nextDial()).bring();
      expect((await dialled).link).toBe(link);
    }
  });

  it('after a silent direct link the direct dial is not delayed where there is no phone, nor after a link that worked', async () => {
    const both = ways();
    both.phone.isAvailable = false;
    const { dialled } = await dialAgain(both);
    (await both.direct.nextDial()).bring();
    await dialled;
    both.phone.isAvailable = true;
    const again = both.way.dial(never);
    (await both.direct.nextDial()).bring();
    await again;
  });
});

describe('a link through the phone', () => {
  it('a link through the phone names the direct connector as better, and a link by that shows that direct dials work', async () => {
    const both = ways();
    const { better } = await dialByPhone(both);
    const dialled = better?.dial(never);
    const link = (await both.direct.nextDial()).bring();
    const chosen = await dialled;
    expect(chosen?.link).toBe(link);
    expect(chosen?.better).toBeUndefined();
    expect(both.phone.dials).toHaveLength(0);
    expect(await asksPhoneAtOnce(both)).toBe(false);
  });

  it('a refusal is final after the link through the phone was replaced by a direct one', async () => {
    const both = ways();
    const { better } = await dialByPhone(both);
    const moved = better?.dial(never);
    (await both.direct.nextDial()).bring();
    await moved;
    both.phone.isAvailable = false;
    const dialled = both.way.dial(never);
    (await both.direct.nextDial()).fail('relay-refused');
    await expect(dialled).rejects.toMatchObject({ fault: 'relay-refused' });
  });

  it('the better connector of a link through the phone dials once, and while it fails the phone is asked at once', async () => {
    const both = ways();
    const { better } = await dialByPhone(both);
    for (let i = 0; i < 2; i++) {
      const dialled = better?.dial(never);
      (await both.direct.nextDial()).fail('link-slow');
      await expect(dialled).rejects.toMatchObject({ fault: 'link-slow' });
    }
    expect([both.direct.dials, both.phone.dials]).toEqual([[], []]);
    expect(await asksPhoneAtOnce(both)).toBe(true);
  });

  it('an aborted dial by the better connector does not count against direct dials', async () => {
    const both = ways();
    const { better } = await dialByPhone(both);
    const worked = better?.dial(never);
    (await both.direct.nextDial()).bring();
    await worked;
    const stop = new AbortController();
    const dialled = better?.dial(stop.signal);
    stop.abort();
    await expect(dialled).rejects.toMatchObject({ fault: 'dial-cancelled' });
    await both.direct.nextDial();
    expect(await asksPhoneAtOnce(both)).toBe(false);
  });
});

const askedLink = (asked: string) => Object.assign(memoryLinkPair()[0], { asked });

describe('PreferredConnector and further links of a session', () => {
  it('both connectors are told that a link is one more of a session, and nothing where it is the only one', async () => {
    const { clock, direct, phone, way } = ways();
    for (const purpose of ['further', undefined] as const) {
      const dialled = way.dial(never, purpose);
      const byDirect = await direct.nextDial();
      await clock.advance(1_000);
      const byPhone = await phone.nextDial();
      expect([byDirect.purpose, byPhone.purpose]).toEqual([purpose, purpose]);
      byDirect.bring();
      await dialled;
    }
  });
});

const relaysOf = ({ relayUrls }: { readonly relayUrls: readonly string[] }): RelayList => new RelayList(relayUrls);

describe('TetherConnector', () => {
  it('TetherConnector has pages take the first relay until a dial fails, and the same one for further links', async () => {
    const peer = createIdentity();
    const invite = { relayUrls: ['wss://a.test', 'wss://b.test'], relayGateKey: createIdentity().public.gate, peer };
    const asked: string[] = [];
    let fails = false;
    const pages = {
      pages: 1,
      eachPage: [],
      dial: async (makeUrl: (skewMs: number) => string) => {
        const url = makeUrl(0);
        asked.push(new URL(url).hostname);
        if (fails) throw new WstunError('phone-offline');
        return askedLink(url);
      },
    };
    const connector = new TetherConnector(new TicketDialer(invite, silentLogger), relaysOf(invite), '', pages);
    await connector.dial(never);
    await connector.dial(never);
    fails = true;
    await expect(connector.dial(never)).rejects.toMatchObject({ fault: 'phone-offline' });
    fails = false;
    await connector.dial(never);
    await connector.dial(never, 'further', { relay: 'wss://a.test', isStalled: false });
    expect(asked).toEqual(['a.test', 'a.test', 'a.test', 'b.test', 'a.test']);
  });

  it('TetherConnector gives each page a ticket of its own that opens, by the phone’s clock', async () => {
    const [relay, peer] = [createIdentity(), createIdentity()];
    const opener = new TicketOpener(relay);
    opener.setPeers([{ name: 'alice', gateKey: peer.public.gate, role: 'client', destination: 'home' }]);
    const invite = { relayUrls: ['wss://relay.example.org/a'], relayGateKey: relay.public.gate, peer };
    const urls: string[] = [];
    const pages = {
      pages: 1,
      eachPage: [],
      dial: async (makeUrl: (skewMs: number) => string) => {
        urls.push(makeUrl(0), makeUrl(0), makeUrl(3_600_000));
        return askedLink(urls[0] ?? '');
      },
    };
    const connector = new TetherConnector(new TicketDialer(invite, silentLogger), relaysOf(invite), 'home', pages);
    await connector.dial(never);
    await connector.dial(never, 'further');
    const tickets = urls.map((url) => url.slice('wss://relay.example.org/a/'.length));
    const opened = (ticket = '', now = Date.now()) => opener.open(ticket, now, { fromPage: true });
    expect(opened(tickets[0])).toMatchObject({ admitted: true, fields: { features: PAGE_FEATURE | AUDIENCE_FEATURE } });
    expect(opened(tickets[1])).toMatchObject({ admitted: true });
    expect(opened(tickets[2])).toMatchObject({ admitted: false });
    expect(opened(tickets[2], Date.now() + 3_600_000)).toMatchObject({ admitted: true });
    expect(opened(tickets[3])).toMatchObject({
      fields: { features: PAGE_FEATURE | FURTHER_FEATURE | AUDIENCE_FEATURE },
    });
  });

  it('TetherConnector remembers the proof of the ticket whose page opened the link, although others were asked later', async () => {
    const [relay, peer] = [createIdentity(), createIdentity()];
    const invite = { relayUrls: ['wss://relay.example.org'], relayGateKey: relay.public.gate, peer };
    const dialer = new TicketDialer(invite, silentLogger);
    const passes = vi.spyOn(dialer, 'ticketUrl');
    const pages = {
      pages: 3,
      eachPage: [],
      dial: async (makeUrl: (skewMs: number) => string) => askedLink([0, 0, 0].map(makeUrl)[1] ?? ''),
    };
    const link = await new TetherConnector(dialer, relaysOf(invite), 'home', pages).dial(never);
    const pass = passes.mock.results[1]?.value as TicketUrl;
    expect(dialer.rotationProofOf(link)).toEqual(pass.rotationProof);
  });
});
