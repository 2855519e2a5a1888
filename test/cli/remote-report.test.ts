import { describe, expect, it, vi } from 'vitest';
import type { RemoteForwardNotice } from '../../src/app/remote-forwarding.ts';
import { Output } from '../../src/cli/output.ts';
import { reportDnsListening, reportRemoteForward } from '../../src/cli/remote-report.ts';
import { WstunError } from '../../src/errors.ts';

function begin() {
  const output = new Output({ json: true });
  const said: string[] = [];
  const events: object[] = [];
  vi.spyOn(output, 'say').mockImplementation((text) => void said.push(text));
  vi.spyOn(output, 'event').mockImplementation((event) => void events.push(event));
  return { output, said, events };
}

const forward = '127.0.0.1:8080:[::1]:80';
const bound = { host: '127.0.0.1', port: 8080 };
const listening = { state: 'listening', forward, bound, to: { host: '::1', port: 80 }, again: false } as const;
const IN_USE = new WstunError('listen-in-use');

describe('what a client says of its ports at the exit', () => {
  it('a client says where the exit listens, and where that leads', () => {
    const { output, said, events } = begin();
    const notices: RemoteForwardNotice[] = [listening, { ...listening, again: true }, { ...listening, to: 'socks' }];
    for (const notice of notices) reportRemoteForward(notice, output);
    expect(said).toEqual([
      '127.0.0.1:8080 at the exit leads to [::1]:80',
      '127.0.0.1:8080 at the exit leads to [::1]:80 again',
      '127.0.0.1:8080 at the exit is a SOCKS proxy of this machine',
    ]);
    expect(events[0]).toEqual({
      ...{ event: 'remote-forward', state: 'listening', forward },
      ...{ bound: '127.0.0.1:8080', to: '[::1]:80', again: false },
    });
  });

  it('a client says which of its ports at the exit are those of UDP', () => {
    const { output, said } = begin();
    reportRemoteForward({ ...listening, forward: `${forward}/udp` }, output);
    expect(said).toEqual(['127.0.0.1:8080 (UDP) at the exit leads to [::1]:80']);
  });

  it('a client says why it has no port, or no longer, and that it asks for it again', () => {
    const { output, said, events } = begin();
    for (const state of ['refused', 'lost'] as const) reportRemoteForward({ state, forward, error: IN_USE }, output);
    expect(said).toEqual([
      `no port at the exit for ${forward}: ${IN_USE.message} wstun asks for it again.`,
      `the port at the exit for ${forward} is closed: ${IN_USE.message} wstun asks for it again.`,
    ]);
    expect(events[1]).toMatchObject({ event: 'remote-forward', state: 'lost', code: 'WSTUN-E316' });
  });

  it('a client says where its name server listens', () => {
    const { output, said, events } = begin();
    reportDnsListening({ host: '::1', port: 53 }, output);
    expect(said).toEqual(['name server on [::1]:53, UDP and TCP: names are resolved at the exit']);
    expect(events).toEqual([{ event: 'dns-listening', listen: '[::1]:53' }]);
  });
});
