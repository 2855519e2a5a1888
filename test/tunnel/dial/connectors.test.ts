/** The choice between the direct way and the phone; the phone's own way. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createIdentity } from '../../../src/crypto/keys.ts';
import { PAGE_FEATURE, TicketOpener } from '../../../src/crypto/ticket.ts';
import { type FaultName, WstunError } from '../../../src/errors.ts';
import { silentLogger } from '../../../src/observability/logger.ts';
import type { MessageLink } from '../../../src/transport/message-link.ts';
import {
  type ChosenLink,
  type Connector,
  PreferredConnector,
  TetherConnector,
} from '../../../src/tunnel/dial/connectors.ts';
import { type Pass, TicketDialer } from '../../../src/tunnel/dial/ticket-dialer.ts';
import { hurryAttempts } from '../../support/hurried-attempts.ts';
import { memoryLinkPair } from '../../support/links/memory-link.ts';

const never = new AbortController().signal;

interface Dial {
  readonly signal: AbortSignal;
  /** Brings a link of its own. */
  bring(): MessageLink;
  fail(fault: FaultName): void;
}

/** A way whose dials a test answers. */
class Way implements Connector {
  canBeAsked = true;
  /** Not answered yet. */
  readonly dials: Dial[] = [];
  private readonly waiting: (() => void)[] = [];

  dial(signal: AbortSignal): Promise<MessageLink> {
    return new Promise((resolve, reject) => {
      const bring = (): MessageLink => {
        const [link] = memoryLinkPair();
        resolve(link);
        return link;
      };
      this.dials.push({ signal, bring, fail: (fault) => reject(new WstunError(fault)) });
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

function ways(): { direct: Way; phone: Way; way: PreferredConnector<MessageLink> } {
  const [direct, phone] = [new Way(), new Way()];
  return { direct, phone, way: new PreferredConnector(direct, phone, silentLogger) };
}

/** The direct way fails, and the phone brings a link. */
async function dialByPhone({ direct, phone, way }: ReturnType<typeof ways>): Promise<ChosenLink<MessageLink>> {
  const dialled = way.dial(never);
  (await direct.nextDial()).fail('relay-unreachable');
  (await phone.nextDial()).bring();
  return await dialled;
}

/** Whether the phone is asked at once, or after the head start of the direct way; leaves nothing under way. */
async function asksPhoneAtOnce({ direct, phone, way }: ReturnType<typeof ways>): Promise<boolean> {
  const dialled = way.dial(never);
  await vi.advanceTimersByTimeAsync(0);
  const atOnce = phone.dials.length > 0;
  await vi.advanceTimersByTimeAsync(999);
  expect(phone.dials.length > 0).toBe(atOnce);
  await vi.advanceTimersByTimeAsync(1);
  (await phone.nextDial()).bring();
  (await direct.nextDial()).bring();
  await dialled;
  return atOnce;
}

// Only the head start goes by these: the waits between attempts of the direct way are real, and short.
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
});
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

describe('the preferred way', () => {
  it('is direct where that works; the phone is not even asked', async () => {
    const { direct, phone, way } = ways();
    const dialled = way.dial(never);
    const link = (await direct.nextDial()).bring();
    const chosen = await dialled;
    expect(chosen.link).toBe(link);
    expect(chosen.better).toBeUndefined();
    await vi.advanceTimersByTimeAsync(5_000);
    expect(phone.dials).toHaveLength(0);
  });

  it('is the phone’s as soon as the direct one fails, and from then on at once', async () => {
    const { direct, phone, way } = ways();
    for (let i = 0; i < 2; i++) {
      const dialled = way.dial(never);
      const attempt = await direct.nextDial();
      // The second time it hangs, and nobody waits for it.
      if (i === 0) attempt.fail('relay-unreachable');
      await vi.advanceTimersByTimeAsync(0);
      const link = (await phone.nextDial()).bring();
      expect((await dialled).link).toBe(link);
      if (i === 1) expect(attempt.signal.aborted).toBe(true);
    }
  });

  it('is the phone’s after a second where the direct one hangs, and then at once', async () => {
    const both = ways();
    const dialled = both.way.dial(never);
    await vi.advanceTimersByTimeAsync(999);
    expect(both.phone.dials).toHaveLength(0);
    await vi.advanceTimersByTimeAsync(1);
    const link = (await both.phone.nextDial()).bring();
    expect((await dialled).link).toBe(link);
    expect((await both.direct.nextDial()).signal.aborted).toBe(true);
    expect(await asksPhoneAtOnce(both)).toBe(true);
  });

  it.each(['direct', 'phone'] as const)(
    'says why the phone failed once both have, the %s first',
    async (failsFirst) => {
      const { direct, phone, way } = ways();
      const dialled = way.dial(never);
      await vi.advanceTimersByTimeAsync(1_000);
      const [attempt, asked] = [await direct.nextDial(), await phone.nextDial()];
      if (failsFirst === 'direct') attempt.fail('relay-unreachable');
      else asked.fail('phone-offline');
      await vi.advanceTimersByTimeAsync(0);
      attempt.fail('relay-unreachable');
      asked.fail('phone-offline');
      await expect(dialled).rejects.toMatchObject({ fault: 'phone-offline' });
    },
  );

  it('is direct where the phone fails first', async () => {
    const { direct, phone, way } = ways();
    const dialled = way.dial(never);
    await vi.advanceTimersByTimeAsync(1_000);
    (await phone.nextDial()).fail('phone-refused');
    await vi.advanceTimersByTimeAsync(0);
    const link = (await direct.nextDial()).bring();
    expect((await dialled).link).toBe(link);
  });

  it.each(['relay-unreachable', 'relay-refused'] as const)(
    'fails as the direct one does (%s) while there is no phone',
    async (fault) => {
      const { direct, phone, way } = ways();
      phone.canBeAsked = false;
      // The second time the phone is waited for beside it, and given up with it.
      for (let i = 0; i < 2; i++) {
        const dialled = way.dial(never);
        const attempt = await direct.nextDial();
        await vi.advanceTimersByTimeAsync(0);
        const waiting = i === 1 ? await phone.nextDial() : undefined;
        attempt.fail(fault);
        await expect(dialled).rejects.toMatchObject({ fault });
        expect(waiting?.signal.aborted).not.toBe(false);
      }
    },
  );

  it('is that of a phone that joins while the direct one is still tried', async () => {
    const { direct, phone, way } = ways();
    phone.canBeAsked = false;
    const failed = way.dial(never);
    (await direct.nextDial()).fail('relay-unreachable');
    await expect(failed).rejects.toMatchObject({ fault: 'relay-unreachable' });
    const dialled = way.dial(never);
    await vi.advanceTimersByTimeAsync(0);
    phone.canBeAsked = true;
    const link = (await phone.nextDial()).bring();
    expect((await dialled).link).toBe(link);
  });

  it('is direct again soon where the phone that can be asked reaches nobody: with the waits of any client', async () => {
    // A hundredth of the waits.
    hurryAttempts(0.01);
    const { direct, way } = ways();
    const dialled = way.dial(never);
    for (let i = 0; i < 3; i++) (await direct.nextDial()).fail('relay-unreachable');
    const link = (await direct.nextDial()).bring();
    expect((await dialled).link).toBe(link);
  });

  it('takes no refusal for final once the phone has carried: it waits for the phone', async () => {
    const { direct, phone, way } = ways();
    for (let i = 0; i < 2; i++) {
      const dialled = way.dial(never);
      phone.canBeAsked = i === 0;
      (await direct.nextDial()).fail('relay-refused');
      const link = (await phone.nextDial()).bring();
      expect((await dialled).link).toBe(link);
    }
  });

  it('ends a link that comes when the other has won', async () => {
    const { direct, phone, way } = ways();
    const dialled = way.dial(never);
    await vi.advanceTimersByTimeAsync(1_000);
    const won = (await direct.nextDial()).bring();
    const late = (await phone.nextDial()).bring();
    const aborted = vi.spyOn(late, 'abort');
    expect((await dialled).link).toBe(won);
    await vi.advanceTimersByTimeAsync(0);
    expect(aborted).toHaveBeenCalled();
  });

  it('gives both up with its signal', async () => {
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

describe('what a relay says', () => {
  it('that the exit is absent, directly: nobody asks the phone to hear it again, and the way is known to work', async () => {
    const both = ways();
    const { direct, phone, way } = both;
    const dialled = way.dial(never);
    (await direct.nextDial()).fail('exit-absent');
    await expect(dialled).rejects.toMatchObject({ fault: 'exit-absent' });
    expect(phone.dials).toHaveLength(0);
    expect(await asksPhoneAtOnce(both)).toBe(false);
  });

  it('that the exit is absent, by the phone: the direct way, which hangs, is not waited for', async () => {
    const { phone, way } = ways();
    const dialled = way.dial(never);
    await vi.advanceTimersByTimeAsync(1_000);
    (await phone.nextDial()).fail('exit-absent');
    await expect(dialled).rejects.toMatchObject({ fault: 'exit-absent' });
  });

  it('that its keys are others, with proof: that is final, also where a phone has carried and is gone', async () => {
    const both = ways();
    await dialByPhone(both);
    both.phone.canBeAsked = false;
    const dialled = both.way.dial(never);
    (await both.direct.nextDial()).fail('keys-rotated');
    await expect(dialled).rejects.toMatchObject({ fault: 'keys-rotated' });
  });
});

describe('a direct link of which nothing comes', () => {
  /** The direct way has brought a link, of which nothing came, and now there is another dial. */
  async function dialAgain({ direct, way }: ReturnType<typeof ways>) {
    const dialled = way.dial(never);
    (await direct.nextDial()).bring();
    (await dialled).doubt?.();
    const again = way.dial(never);
    await vi.advanceTimersByTimeAsync(0);
    return { dialled: again };
  }

  it('gives the phone its turn at once the next time, and alone: it is the longer way, and would lose each race', async () => {
    const both = ways();
    const { dialled } = await dialAgain(both);
    expect(both.phone.dials).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(4_999);
    expect(both.direct.dials).toHaveLength(0);
    const link = (await both.phone.nextDial()).bring();
    expect((await dialled).link).toBe(link);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(both.direct.dials).toHaveLength(0);
  });

  it('is tried again after five seconds beside a phone that brings none, and at once where that fails', async () => {
    for (const [fails, waitMs] of [
      [false, 5_000],
      [true, 0],
    ] as const) {
      const both = ways();
      const { dialled } = await dialAgain(both);
      const asked = await both.phone.nextDial();
      if (fails) asked.fail('phone-refused');
      await vi.advanceTimersByTimeAsync(waitMs);
      const link = (await both.direct.nextDial()).bring();
      expect((await dialled).link).toBe(link);
    }
  });

  it('is not waited with where there is no phone, nor once another has come', async () => {
    const both = ways();
    both.phone.canBeAsked = false;
    const { dialled } = await dialAgain(both);
    (await both.direct.nextDial()).bring();
    await dialled;
    both.phone.canBeAsked = true;
    const again = both.way.dial(never);
    (await both.direct.nextDial()).bring();
    await again;
  });
});

describe('a link by the phone', () => {
  it('has a better way, the direct one alone: when that brings a link, it works again', async () => {
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

  it('that gave way to the direct one says nothing of the network any more: a refusal is final', async () => {
    const both = ways();
    const { better } = await dialByPhone(both);
    const moved = better?.dial(never);
    (await both.direct.nextDial()).bring();
    await moved;
    both.phone.canBeAsked = false;
    const dialled = both.way.dial(never);
    (await both.direct.nextDial()).fail('relay-refused');
    await expect(dialled).rejects.toMatchObject({ fault: 'relay-refused' });
  });

  it('has it once a dial: while that fails the phone has its turn at once', async () => {
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

  it('is no worse than the direct one for a dial that is given up', async () => {
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

describe('the phone’s way', () => {
  it('has tickets that open to a page, each another, by the phone’s clock', async () => {
    const [relay, peer] = [createIdentity(), createIdentity()];
    const opener = new TicketOpener(relay);
    opener.setPeers([{ name: 'alice', gateKey: peer.public.gate, role: 'client', destination: 'home' }]);
    const invite = { relayUrls: ['wss://relay.example.org/a'], relayGateKey: relay.public.gate, peer };
    const urls: string[] = [];
    const pages = {
      pages: 1,
      dial: async (makeUrl: (skewMs: number) => string) => {
        urls.push(makeUrl(0), makeUrl(0), makeUrl(3_600_000));
        return askedLink(urls[0] ?? '');
      },
    };
    await new TetherConnector(new TicketDialer(invite, silentLogger), 'home', pages).dial(never);
    const tickets = urls.map((url) => url.slice('wss://relay.example.org/a/'.length));
    const opened = (ticket = '', now = Date.now()) => opener.open(ticket, now, { fromPage: true });
    expect(opened(tickets[0])).toMatchObject({ admitted: true, fields: { features: PAGE_FEATURE } });
    expect(opened(tickets[1])).toMatchObject({ admitted: true });
    expect(opened(tickets[2])).toMatchObject({ admitted: false });
    expect(opened(tickets[2], Date.now() + 3_600_000)).toMatchObject({ admitted: true });
  });

  it('knows the proof of the page that brought the link, though others were asked after it', async () => {
    const [relay, peer] = [createIdentity(), createIdentity()];
    const invite = { relayUrls: ['wss://relay.example.org'], relayGateKey: relay.public.gate, peer };
    const dialer = new TicketDialer(invite, silentLogger);
    const passes = vi.spyOn(dialer, 'passFor');
    const pages = {
      pages: 3,
      dial: async (makeUrl: (skewMs: number) => string) => askedLink([0, 0, 0].map(makeUrl)[1] ?? ''),
    };
    const link = await new TetherConnector(dialer, 'home', pages).dial(never);
    const pass = passes.mock.results[1]?.value as Pass;
    expect(dialer.rotationProofOf(link)).toEqual(pass.rotationProof);
  });
});
