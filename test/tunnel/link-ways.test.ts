/** The choice between the direct way and the phone. */
import { afterEach, describe, expect, it, vi } from 'vitest';
import { createIdentity } from '../../src/crypto/keys.ts';
import { PAGE_FEATURE, TicketOpener } from '../../src/crypto/ticket.ts';
import { WstunError } from '../../src/errors.ts';
import { silentLogger } from '../../src/observability/logger.ts';
import { memoryLinkPair } from '../../src/transport/memory-link.ts';
import type { MessageLink } from '../../src/transport/message-link.ts';
import { type AskedWay, PreferredWay, TetherWay } from '../../src/tunnel/link-ways.ts';
import { type Pass, TicketDialer } from '../../src/tunnel/ticket-dialer.ts';

const never = new AbortController().signal;

/** A way whose dials a test answers. */
class Way implements AskedWay {
  canBeAsked = true;
  readonly dials: { resolve(link: MessageLink): void; reject(error: Error): void; readonly signal: AbortSignal }[] = [];

  dial(signal: AbortSignal): Promise<MessageLink> {
    return new Promise((resolve, reject) => {
      this.dials.push({ resolve, reject, signal });
      signal.addEventListener('abort', () => reject(new WstunError('dial-cancelled')));
    });
  }

  async nextDial() {
    await vi.waitFor(() => expect(this.dials.length).toBeGreaterThan(0));
    const dial = this.dials.shift();
    if (dial === undefined) throw new Error('unreachable');
    return dial;
  }
}

afterEach(() => {
  vi.restoreAllMocks();
});

const unreachable = () => new WstunError('relay-unreachable');

describe('the preferred way', () => {
  it('is direct where that works; the phone is not even asked', async () => {
    const [direct, phone] = [new Way(), new Way()];
    const dialled = new PreferredWay(direct, phone, silentLogger).dial(never);
    const [link] = memoryLinkPair();
    (await direct.nextDial()).resolve(link);
    expect(await dialled).toBe(link);
    expect(phone.dials).toHaveLength(0);
  });

  it('is the phone’s as soon as the direct one fails, and from then on at once', async () => {
    const [direct, phone] = [new Way(), new Way()];
    const way = new PreferredWay(direct, phone, silentLogger);
    for (let i = 0; i < 2; i++) {
      const dialled = way.dial(never);
      const attempt = await direct.nextDial();
      // The second time it hangs, and nobody waits for it.
      if (i === 0) attempt.reject(unreachable());
      const [link] = memoryLinkPair();
      (await phone.nextDial()).resolve(link);
      expect(await dialled).toBe(link);
      if (i === 1) expect(attempt.signal.aborted).toBe(true);
    }
  });

  it('is the phone’s after a second where the direct one hangs', async () => {
    const [direct, phone] = [new Way(), new Way()];
    const since = performance.now();
    const dialled = new PreferredWay(direct, phone, silentLogger).dial(never);
    const [link] = memoryLinkPair();
    await vi.waitFor(() => expect(phone.dials).toHaveLength(1), 3_000);
    expect(performance.now() - since).toBeGreaterThan(900);
    (await phone.nextDial()).resolve(link);
    expect(await dialled).toBe(link);
    expect((await direct.nextDial()).signal.aborted).toBe(true);
  });

  it('says why the phone failed once both have', async () => {
    const [direct, phone] = [new Way(), new Way()];
    const dialled = new PreferredWay(direct, phone, silentLogger).dial(never);
    (await direct.nextDial()).reject(unreachable());
    (await phone.nextDial()).reject(new WstunError('phone-offline'));
    await expect(dialled).rejects.toMatchObject({ fault: 'phone-offline' });
  });

  it.each(['relay-unreachable', 'relay-refused'] as const)(
    'fails as the direct one does (%s) while there is no phone',
    async (fault) => {
      const [direct, phone] = [new Way(), new Way()];
      phone.canBeAsked = false;
      const way = new PreferredWay(direct, phone, silentLogger);
      // The second time the phone is waited for beside it, and given up with it.
      for (let i = 0; i < 2; i++) {
        const dialled = way.dial(never);
        const attempt = await direct.nextDial();
        const waiting = i === 1 ? await phone.nextDial() : undefined;
        attempt.reject(new WstunError(fault));
        await expect(dialled).rejects.toMatchObject({ fault });
        expect(waiting?.signal.aborted).not.toBe(false);
      }
    },
  );

  it('is that of a phone that joins while the direct one is still tried', async () => {
    const [direct, phone] = [new Way(), new Way()];
    phone.canBeAsked = false;
    const way = new PreferredWay(direct, phone, silentLogger);
    const failed = way.dial(never);
    (await direct.nextDial()).reject(unreachable());
    await expect(failed).rejects.toMatchObject({ fault: 'relay-unreachable' });
    const dialled = way.dial(never);
    phone.canBeAsked = true;
    const [link] = memoryLinkPair();
    (await phone.nextDial()).resolve(link);
    expect(await dialled).toBe(link);
  });

  it('is direct again soon where the phone that can be asked reaches nobody: with the waits of any client', async () => {
    // A hundredth of the span.
    vi.spyOn(Math, 'random').mockReturnValue(0.01);
    const [direct, phone] = [new Way(), new Way()];
    const dialled = new PreferredWay(direct, phone, silentLogger).dial(never);
    for (let i = 0; i < 3; i++) (await direct.nextDial()).reject(unreachable());
    const [link] = memoryLinkPair();
    (await direct.nextDial()).resolve(link);
    expect(await dialled).toBe(link);
  });

  it('takes no refusal for final once the phone has carried: it waits for the phone', async () => {
    const [direct, phone] = [new Way(), new Way()];
    const way = new PreferredWay(direct, phone, silentLogger);
    for (let i = 0; i < 2; i++) {
      const dialled = way.dial(never);
      phone.canBeAsked = i === 0;
      (await direct.nextDial()).reject(new WstunError('relay-refused'));
      const [link] = memoryLinkPair();
      (await phone.nextDial()).resolve(link);
      expect(await dialled).toBe(link);
    }
  });

  it('ends a link that comes when the other has won', async () => {
    const [direct, phone] = [new Way(), new Way()];
    const dialled = new PreferredWay(direct, phone, silentLogger).dial(never);
    const [won] = memoryLinkPair();
    const [late] = memoryLinkPair();
    const aborted = vi.spyOn(late, 'abort');
    const directDial = await direct.nextDial();
    const phoneDial = await vi.waitFor(() => phone.dials[0] ?? Promise.reject(new Error('not yet')), 3_000);
    directDial.resolve(won);
    phoneDial.resolve(late);
    expect(await dialled).toBe(won);
    await vi.waitFor(() => expect(aborted).toHaveBeenCalled());
  });

  it('moves back to the direct one when that works again, where sessions resume', async () => {
    const [direct, phone] = [new Way(), new Way()];
    const way = new PreferredWay(direct, phone, silentLogger, { movesBack: true, tryFirstAgainMs: 10 });
    const dialled = way.dial(never);
    (await direct.nextDial()).reject(unreachable());
    const [byPhone] = memoryLinkPair();
    const aborted = vi.spyOn(byPhone, 'abort');
    (await phone.nextDial()).resolve(byPhone);
    expect(await dialled).toBe(byPhone);
    const [spare] = memoryLinkPair();
    for (let i = 0; aborted.mock.calls.length === 0 && i < 3; i++) {
      const attempt = await direct.nextDial();
      if (attempt.signal.aborted) continue;
      attempt.resolve(spare);
      await vi.waitFor(() => expect(aborted).toHaveBeenCalled());
    }
    expect(await way.dial(never)).toBe(spare);
  });

  it('gives both up with its signal', async () => {
    const [direct, phone] = [new Way(), new Way()];
    const stop = new AbortController();
    const dialled = new PreferredWay(direct, phone, silentLogger).dial(stop.signal);
    (await direct.nextDial()).reject(unreachable());
    const { signal } = await phone.nextDial();
    stop.abort();
    expect(signal.aborted).toBe(true);
    await expect(dialled).rejects.toMatchObject({ fault: 'dial-cancelled' });
  });
});

const askedLink = (asked: string) => Object.assign(memoryLinkPair()[0], { asked });

describe('the phone’s way', () => {
  it('has tickets that open to a page, each another, by the phone’s clock', async () => {
    const [relay, bearer] = [createIdentity(), createIdentity()];
    const opener = new TicketOpener(relay);
    opener.setBearers([{ name: 'alice', gateKey: bearer.public.gate, role: 'client', destination: 'home' }]);
    const invite = { relayUrls: ['wss://relay.example.org/a'], relayGateKey: relay.public.gate, bearer };
    const urls: string[] = [];
    const pages = {
      pages: 1,
      dial: async (makeUrl: (skewMs: number) => string) => {
        urls.push(makeUrl(0), makeUrl(0), makeUrl(3_600_000));
        return askedLink(urls[0] ?? '');
      },
    };
    await new TetherWay(new TicketDialer(invite, silentLogger), 'home', pages).dial(never);
    const tickets = urls.map((url) => url.slice('wss://relay.example.org/a/'.length));
    const opened = (ticket = '', now = Date.now()) => opener.open(ticket, now, true);
    expect(opened(tickets[0])).toMatchObject({ admitted: true, fields: { features: PAGE_FEATURE } });
    expect(opened(tickets[1])).toMatchObject({ admitted: true });
    expect(opened(tickets[2])).toMatchObject({ admitted: false });
    expect(opened(tickets[2], Date.now() + 3_600_000)).toMatchObject({ admitted: true });
  });

  it('knows the proof of the page that brought the link, though others were asked after it', async () => {
    const [relay, bearer] = [createIdentity(), createIdentity()];
    const invite = { relayUrls: ['wss://relay.example.org'], relayGateKey: relay.public.gate, bearer };
    const dialer = new TicketDialer(invite, silentLogger);
    const passes = vi.spyOn(dialer, 'passFor');
    const pages = {
      pages: 3,
      dial: async (makeUrl: (skewMs: number) => string) => askedLink([0, 0, 0].map(makeUrl)[1] ?? ''),
    };
    const link = await new TetherWay(dialer, 'home', pages).dial(never);
    const pass = passes.mock.results[1]?.value as Pass;
    expect(dialer.rotationProofOf(link)).toEqual(pass.rotationProof);
  });
});
