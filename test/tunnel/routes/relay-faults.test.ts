import { describe, expect, it } from 'vitest';
import { type FaultName, WstunError } from '../../../src/errors.ts';
import { DialError } from '../../../src/transport/dial-obstacle.ts';
import { obstacleOf } from '../../../src/tunnel/routes/obstacles.ts';
import { type FailedRelay, faultOfRelays, RotationWatch } from '../../../src/tunnel/routes/relay-faults.ts';

const [A, B, C] = ['wss://a.test', 'ws://b.test:8080/path', 'wss://c.test'] as const;

const failed = (relay: string, fault: FaultName, detail = ''): FailedRelay => ({
  relay,
  error: new WstunError(fault, detail),
});

describe('the fault of all relays', () => {
  it('what all relays say alike is said once, without their names', () => {
    const error = faultOfRelays([failed(A, 'exit-absent'), failed(B, 'exit-absent')], false);
    expect(error.what).toBe('the exit of this invite is not connected to the relay');
  });

  it('relays that fail alike with particulars are told together', () => {
    const error = faultOfRelays(
      [
        failed(A, 'relay-unreachable', 'a.test:443: connection refused'),
        failed(B, 'relay-unreachable', 'b.test:8080: no answer'),
      ],
      false,
    );
    expect(error.what).toBe('the relay cannot be reached: a.test:443: connection refused; b.test:8080: no answer');
    expect(obstacleOf(error)).toBe('unreachable');
  });

  it('of relays that fail differently, the one that knows of the exit comes first, and each has its name', () => {
    const error = faultOfRelays(
      [
        failed(A, 'relay-unreachable', 'a.test:443: connection refused'),
        failed(B, 'exit-absent'),
        failed(C, 'relay-full'),
      ],
      false,
    );
    expect(error.fault).toBe('exit-absent');
    expect(error.detail).toBe(
      'b.test:8080; c.test:443: the relay has reached its maximum number of links; the relay cannot be reached: a.test:443: connection refused',
    );
    expect(error.fix).toContain('wstun exit');
  });

  it('the name of a relay is not said twice where its particulars begin with it', () => {
    const error = faultOfRelays(
      [failed(A, 'relay-odd-answer', 'a.test:443: HTTP 502'), failed(B, 'relay-odd-answer', 'HTTP 403')],
      false,
    );
    expect(error.detail).toBe('a.test:443: HTTP 502; b.test:8080: HTTP 403');
  });

  it('that one relay has other keys is told last, and first only where it is final', () => {
    const all = [failed(A, 'keys-rotated'), failed(B, 'relay-unreachable', 'b.test:8080: no answer')];
    expect(faultOfRelays(all, false).fault).toBe('relay-unreachable');
    expect(faultOfRelays(all, true).fault).toBe('keys-rotated');
  });

  it('the one error keeps what stands in the way', () => {
    const dial = (relay: string): FailedRelay => ({ relay, error: new DialError('link-slow', relay, 'silent') });
    expect(obstacleOf(faultOfRelays([dial(A), dial(B)], false))).toBe('silent');
  });
});

describe('rotated keys at one of several relays', () => {
  const rotated = failed(A, 'keys-rotated');

  it('they are final where every relay has them, or has no exit', () => {
    expect(new RotationWatch().isFinal([rotated, failed(B, 'keys-rotated')], 0)).toBe(true);
    expect(new RotationWatch().isFinal([rotated, failed(B, 'exit-absent')], 0)).toBe(true);
    expect(new RotationWatch().isFinal([failed(B, 'exit-absent')], 0)).toBe(false);
  });

  it('they are not final while another relay knows the invite, however long', () => {
    const watch = new RotationWatch();
    for (const at of [0, 30_000, 90_000]) expect(watch.isFinal([rotated, failed(B, 'relay-full')], at)).toBe(false);
  });

  it('they are final where no other relay can be asked for a minute, and a link in between begins it anew', () => {
    const watch = new RotationWatch();
    const all = [rotated, failed(B, 'relay-unreachable')];
    expect([watch.isFinal(all, 0), watch.isFinal(all, 59_999)]).toEqual([false, false]);
    watch.handleWorked();
    expect([watch.isFinal(all, 60_000), watch.isFinal(all, 119_999), watch.isFinal(all, 120_000)]).toEqual([
      false,
      false,
      true,
    ]);
  });
});
