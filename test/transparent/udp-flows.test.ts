/** Which datagrams go where, in virtual time, with a tunnel that only notes what it is asked for. */
import { describe, expect, it } from 'vitest';
import { WstunError } from '../../src/errors.ts';
import { formatIp, type IpBytes, parseIp } from '../../src/net/ip.ts';
import { silentLogger } from '../../src/observability/logger.ts';
import { UdpFlows } from '../../src/transparent/udp-flows.ts';
import { FLOW_IDLE_MS } from '../../src/tunnel/stream/flow-table.ts';
import type { AssociationHandler } from '../../src/tunnel/stream/services.ts';
import type { Target } from '../../src/tunnel/stream/stream.ts';
import { VirtualClock } from '../support/time/virtual-clock.ts';

const place = (ip: string, port: number) => ({ ip: parseIp(ip) as IpBytes, port });
const PC = place('192.168.1.5', 4000);
const SERVER = place('93.184.216.34', 443);
const BYTES = Uint8Array.of(1, 2, 3);

function begin({ maxFlows = 3, fails = false } = {}) {
  const clock = new VirtualClock();
  const opened: { handler: AssociationHandler; sent: string[]; isClosed: boolean }[] = [];
  const answers: string[] = [];
  const flows = new UdpFlows({
    ...{ clock, maxFlows, logger: silentLogger },
    loops: {
      port: 7893,
      isOwnAddress: (ip) => formatIp(ip) === '192.168.1.1',
      isRelay: ({ port }) => port === 8443,
    },
    opener: {
      lacksUdp: false,
      openAssociation: (_target, handler) => {
        if (fails) throw new WstunError('not-connected');
        const association = { handler, sent: [] as string[], isClosed: false };
        opened.push(association);
        return {
          send: (_bytes: Uint8Array, to?: Target) =>
            void association.sent.push(to?.kind === 'ip' ? `${formatIp(to.ip)}:${to.port}` : '?'),
          close: () => {
            association.isClosed = true;
          },
        };
      },
    },
    answer: (_bytes, from, to) =>
      void answers.push(`${formatIp(from.ip)}:${from.port} to ${formatIp(to.ip)}:${to.port}`),
  });
  return { clock, opened, answers, flows };
}

describe('flows of a transparent proxy', () => {
  it('sends all datagrams of a program by one association, each to its own destination', () => {
    const { flows, opened, answers } = begin();
    flows.handleDatagram({ bytes: BYTES, source: PC, destination: SERVER });
    flows.handleDatagram({ bytes: BYTES, source: PC, destination: place('1.1.1.1', 53) });
    expect(opened.map(({ sent }) => sent)).toEqual([['93.184.216.34:443', '1.1.1.1:53']]);
    opened[0]?.handler.handleDatagram(BYTES, { kind: 'ip', ...SERVER });
    expect(answers).toEqual(['93.184.216.34:443 to 192.168.1.5:4000']);
  });

  it('lets the exit speak for no machine of a local network that was not asked', () => {
    const { flows, opened, answers } = begin();
    flows.handleDatagram({ bytes: BYTES, source: PC, destination: SERVER });
    opened[0]?.handler.handleDatagram(BYTES, { kind: 'ip', ...place('192.168.1.1', 53) });
    expect(answers).toEqual([]);
    flows.handleDatagram({ bytes: BYTES, source: PC, destination: place('192.168.1.9', 53) });
    opened[0]?.handler.handleDatagram(BYTES, { kind: 'ip', ...place('192.168.1.9', 53) });
    expect(answers).toHaveLength(1);
  });

  it('ends what is idle for two minutes, and nothing sooner', async () => {
    const { flows, opened, clock } = begin();
    flows.handleDatagram({ bytes: BYTES, source: PC, destination: SERVER });
    await clock.advance(FLOW_IDLE_MS - 1_000);
    expect(opened[0]?.isClosed).toBe(false);
    opened[0]?.handler.handleDatagram(BYTES, { kind: 'ip', ...SERVER });
    await clock.advance(FLOW_IDLE_MS - 1_000);
    expect(opened[0]?.isClosed).toBe(false);
    await clock.advance(12_000);
    expect(opened[0]?.isClosed).toBe(true);
    expect(flows.size).toBe(0);
  });

  it('makes room with the flow that was used longest ago, and ends none that was in use within the last second', async () => {
    const { flows, opened, clock } = begin();
    const send = (port: number) => flows.handleDatagram({ bytes: BYTES, source: { ...PC, port }, destination: SERVER });
    for (const port of [1, 2, 3, 1, 4]) send(port);
    expect(opened.map(({ isClosed }) => isClosed)).toEqual([false, false, false]);
    await clock.advance(1_000);
    send(4);
    expect(opened.map(({ isClosed }) => isClosed)).toEqual([false, true, false, false]);
  });

  it('drops what would lead back to it, and what the tunnel cannot carry', () => {
    const { flows, opened } = begin();
    for (const destination of [place('192.168.1.1', 7893), place('51.0.0.1', 8443), place('0.0.0.0', 9)])
      flows.handleDatagram({ bytes: BYTES, source: PC, destination });
    expect(opened).toEqual([]);
    const without = begin({ fails: true });
    without.flows.handleDatagram({ bytes: BYTES, source: PC, destination: SERVER });
    expect(without.flows.size).toBe(0);
  });

  it('opens another association when the exit has ended one, and none after the end', () => {
    const { flows, opened } = begin();
    flows.handleDatagram({ bytes: BYTES, source: PC, destination: SERVER });
    opened[0]?.handler.handleEnd(undefined);
    flows.handleDatagram({ bytes: BYTES, source: PC, destination: SERVER });
    expect(opened).toHaveLength(2);
    flows.close();
    flows.handleDatagram({ bytes: BYTES, source: PC, destination: SERVER });
    expect(opened.map(({ isClosed }) => isClosed)).toEqual([false, true]);
  });
});
