import { describe, expect, it } from 'vitest';
import type { FaultName } from '../../../src/errors.ts';
import { LazyAssociation } from '../../../src/tunnel/stream/lazy-association.ts';
import { ipTarget } from '../../support/net/targets.ts';
import { FakeAssociations } from '../../support/proxy/fake-associations.ts';
import { VirtualClock } from '../../support/time/virtual-clock.ts';

const TARGET = ipTarget('192.0.2.7', 53);

function lazy() {
  const clock = new VirtualClock();
  const opener = new FakeAssociations();
  const faults: FaultName[] = [];
  const received: string[] = [];
  const owner = {
    handleDatagram: (bytes: Uint8Array) => void received.push(Buffer.from(bytes).toString()),
    handleFailed: (error: { fault: FaultName }) => void faults.push(error.fault),
  };
  const association = new LazyAssociation(opener, TARGET, owner, clock);
  const send = (text: string) => association.send(Buffer.from(text));
  return { clock, opener, faults, received, association, send };
}

describe('LazyAssociation', () => {
  it('LazyAssociation opens nothing before the first datagram, and one association for all', () => {
    const { opener, send } = lazy();
    expect(opener.attempts).toBe(0);
    send('one');
    send('two');
    expect(opener.associations.map(({ target }) => target)).toEqual([TARGET]);
    expect(opener.associations[0]?.sent.map(({ text }) => text)).toEqual(['one', 'two']);
  });

  it('LazyAssociation opens another at the next datagram after the exit has closed an idle one', async () => {
    const { clock, opener, faults, send } = lazy();
    send('one');
    await clock.advance(120_000);
    opener.associations[0]?.end();
    send('two');
    expect(opener.associations[1]?.sent.map(({ text }) => text)).toEqual(['two']);
    expect(faults).toEqual([]);
  });

  it('LazyAssociation asks an exit that refuses at most once a second, however many datagrams there are', async () => {
    const { clock, opener, faults, send } = lazy();
    for (let ms = 0; ms < 5_000; ms += 10) {
      send('x');
      opener.associations.at(-1)?.end('dial-not-allowed');
      await clock.advance(10);
    }
    expect(opener.attempts).toBe(5);
    expect(new Set(faults)).toEqual(new Set(['dial-not-allowed']));
  });

  it('LazyAssociation drops datagrams while there is no session, and sends the next one when there is', async () => {
    const { clock, opener, faults, send } = lazy();
    opener.associationFault = 'not-connected';
    send('lost');
    send('lost, too');
    expect([opener.attempts, faults]).toEqual([1, ['not-connected']]);
    opener.associationFault = undefined;
    await clock.advance(100);
    send('sent');
    expect(opener.associations[0]?.sent.map(({ text }) => text)).toEqual(['sent']);
  });

  it('LazyAssociation that is closed opens, receives and reports nothing', () => {
    const { opener, faults, received, association, send } = lazy();
    send('one');
    association.close();
    association.close();
    opener.associations[0]?.answer('late');
    opener.associations[0]?.end('link-lost');
    send('two');
    expect({ attempts: opener.attempts, faults, received }).toEqual({ attempts: 1, faults: [], received: [] });
    expect(opener.associations[0]?.isClosed).toBe(true);
  });
});
