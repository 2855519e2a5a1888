import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { OutageReport } from '../../src/cli/outage-report.ts';
import { Output } from '../../src/cli/output.ts';
import { WstunError } from '../../src/errors.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

function begin() {
  const output = new Output({ json: true });
  const said: string[] = [];
  const events: object[] = [];
  vi.spyOn(output, 'say').mockImplementation((text) => void said.push(text));
  vi.spyOn(output, 'event').mockImplementation((event) => void events.push(event));
  return { report: new OutageReport(output), said, events };
}

const REFUSED = new WstunError('relay-refused', 'relay.example.org:443: HTTP 404 from nginx');
const UNREACHABLE = new WstunError('relay-unreachable', 'relay.example.org:443: connection refused');

describe('the report of an outage', () => {
  it('an outage report prints each reason once, and after ten seconds, once, that the outage lasts', async () => {
    const { report, said, events } = begin();
    report.handleFailed(REFUSED, 700);
    report.handleFailed(REFUSED, 2_100);
    expect(said).toEqual([`${REFUSED.message} Next attempt in 0.7 s.`]);
    await vi.advanceTimersByTimeAsync(9_900);
    report.handleFailed(UNREACHABLE, 7_000);
    expect(said).toHaveLength(2);
    await vi.advanceTimersByTimeAsync(200);
    expect(said[2]).toBe(
      `not connected for 10.0 s: ${UNREACHABLE.message} wstun keeps trying, with pauses of up to a minute.`,
    );
    expect(events.at(-1)).toMatchObject({ event: 'waiting', code: 'WSTUN-E201', forMs: 10_000 });
    await vi.advanceTimersByTimeAsync(300_000);
    report.handleFailed(UNREACHABLE, 30_000);
    expect(said).toHaveLength(3);
    // One event for each attempt, whoever reads them.
    expect(events.filter((event) => 'waitMs' in event)).toHaveLength(4);
  });

  it('an attempt that follows at once is not said to be in 0.0 s', () => {
    const { report, said } = begin();
    report.handleFailed(UNREACHABLE, 12);
    expect(said).toEqual([`${UNREACHABLE.message} Trying again now.`]);
  });

  it('an outage report repeats a reason that stays the same after ten minutes', async () => {
    const { report, said } = begin();
    report.handleFailed(REFUSED, 700);
    await vi.advanceTimersByTimeAsync(601_000);
    report.handleFailed(REFUSED, 60_000);
    expect(said).toHaveLength(3);
  });

  it('an outage report begins again after the outage, and a short outage is not reported as lasting', async () => {
    const { report, said } = begin();
    report.handleFailed(UNREACHABLE, 700);
    report.handleOver();
    await vi.advanceTimersByTimeAsync(60_000);
    report.handleFailed(UNREACHABLE, 700);
    expect(said).toHaveLength(2);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(said).toHaveLength(3);
    report.handleOver();
  });
});
