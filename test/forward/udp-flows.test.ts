import { describe, expect, it } from 'vitest';
import type { FaultName } from '../../src/errors.ts';
import { MAX_FLOWS, UdpFlows } from '../../src/forward/udp-flows.ts';
import { FLOW_IDLE_MS } from '../../src/tunnel/stream/flow-table.ts';
import { ipTarget } from '../support/net/targets.ts';
import { FakeAssociations } from '../support/proxy/fake-associations.ts';
import { VirtualClock } from '../support/time/virtual-clock.ts';

const TARGET = ipTarget('192.0.2.7', 51_820);

function flowsOf() {
  const clock = new VirtualClock();
  const opener = new FakeAssociations();
  const answers: string[] = [];
  const faults: FaultName[] = [];
  const flows = new UdpFlows({
    ...{ opener, to: TARGET, clock },
    answer: (bytes, port, address) => void answers.push(`${Buffer.from(bytes).toString()} to ${address} ${port}`),
    onFailed: ({ fault }) => void faults.push(fault),
  });
  const send = (text: string, port: number, address = '127.0.0.1') =>
    flows.handleDatagram(Buffer.from(text), port, address);
  return { clock, opener, answers, faults, flows, send };
}

describe('the flows of a UDP forward', () => {
  it('each source of datagrams has an association of its own, and gets its own answers', () => {
    const { opener, answers, send } = flowsOf();
    send('one', 1);
    send('two', 2);
    send('three', 1);
    send('four', 1, '127.0.0.2');
    expect(opener.associations.map(({ sent }) => sent.map(({ text }) => text))).toEqual([
      ['one', 'three'],
      ['two'],
      ['four'],
    ]);
    expect(opener.associations.every(({ target }) => target === TARGET)).toBe(true);
    opener.associations[1]?.answer('b');
    opener.associations[0]?.answer('a');
    expect(answers).toEqual(['b to 127.0.0.1 2', 'a to 127.0.0.1 1']);
  });

  it('a flow ends when nothing has come or gone for 120 s', async () => {
    const { clock, opener, flows, send } = flowsOf();
    send('one', 1);
    send('two', 2);
    await clock.advance(FLOW_IDLE_MS - 1_000);
    send('again', 1);
    opener.associations[1]?.answer('still there');
    await clock.advance(FLOW_IDLE_MS - 1_000);
    expect(flows.size).toBe(2);
    send('again', 1);
    await clock.advance(20_000);
    expect(opener.associations.map(({ isClosed }) => isClosed)).toEqual([false, true]);
    await clock.advance(FLOW_IDLE_MS + 10_000);
    expect({ size: flows.size, timers: clock.timers }).toEqual({ size: 0, timers: 0 });
  });

  it('of 100,000 sources, only so many have flows, and the one that is idle for longest makes room', async () => {
    const { clock, opener, flows, send } = flowsOf();
    let most = 0;
    for (let n = 0; n < 100_000; n++) {
      send('x', n % 65_536, `10.0.${n >> 16}.1`);
      clock.advanceNow(10);
      most = Math.max(most, flows.size);
    }
    expect(most).toBe(MAX_FLOWS);
    expect(opener.associations.filter(({ isClosed }) => !isClosed).length).toBe(flows.size);
  });

  it('a flood of sources ends no flow that is in use', async () => {
    const { clock, opener, send } = flowsOf();
    send('mine', 1);
    for (let n = 0; n < 10_000; n++) {
      send('x', 1_000 + n);
      if (n % 100 === 0) send('mine', 1);
      clock.advanceNow(1);
    }
    expect(opener.associations[0]?.isClosed).toBe(false);
    expect(opener.associations[0]?.sent).toHaveLength(101);
  });

  it('a flow whose association the exit has closed sends its next datagram by another', async () => {
    const { clock, opener, faults, send } = flowsOf();
    send('one', 1);
    await clock.advance(5_000);
    opener.associations[0]?.end('link-lost');
    send('two', 1);
    expect(opener.associations[1]?.sent.map(({ text }) => text)).toEqual(['two']);
    expect(faults).toEqual(['link-lost']);
  });

  it('flows that are closed receive and send nothing', () => {
    const { clock, opener, answers, flows, send } = flowsOf();
    send('one', 1);
    flows.close();
    flows.close();
    opener.associations[0]?.answer('late');
    send('two', 2);
    expect({ answers, attempts: opener.attempts, timers: clock.timers }).toEqual({
      answers: [],
      attempts: 1,
      timers: 0,
    });
  });
});
