import { describe, expect, it } from 'vitest';
import { TrafficMeter } from '../../src/app/traffic-meter.ts';

describe('TrafficMeter', () => {
  it('there is no rate at the first question, nor after a pause that is longer than five seconds', () => {
    const meter = new TrafficMeter();
    expect(meter.measure({ sent: 1_000, received: 0 }, 0)).toMatchObject({ sent: 1_000, sentPerSecond: 0 });
    expect(meter.measure({ sent: 9_000, received: 0 }, 6_000)).toMatchObject({ sentPerSecond: 0 });
  });

  it('a rate is that since the first question within five seconds, however often it is asked for', () => {
    const meter = new TrafficMeter();
    for (let ms = 0; ms <= 20_000; ms += 10) {
      // 1 kB/s, then 10 kB/s.
      const sent = ms <= 10_000 ? ms : 10_000 + (ms - 10_000) * 10;
      const { sentPerSecond, receivedPerSecond } = meter.measure({ sent, received: ms / 2 }, ms);
      if (ms > 0) expect(receivedPerSecond).toBe(500);
      if (ms > 0 && ms <= 10_000) expect(sentPerSecond).toBe(1_000);
      if (ms > 15_500) expect(sentPerSecond).toBe(10_000);
    }
  });

  it('totals that are smaller than before, of other streams, give no negative rate', () => {
    const meter = new TrafficMeter();
    meter.measure({ sent: 1_000, received: 1_000 }, 0);
    expect(meter.measure({ sent: 0, received: 2_000 }, 1_000)).toMatchObject({
      sentPerSecond: 0,
      receivedPerSecond: 1_000,
    });
  });
});
