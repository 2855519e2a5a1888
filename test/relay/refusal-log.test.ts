import { expect, it } from 'vitest';
import type { Refused } from '../../src/relay/gate.ts';
import { RefusalLog } from '../../src/relay/refusal-log.ts';
import { collectingLogger } from '../support/collecting-logger.ts';

const dropped: Refused = {
  admitted: undefined,
  reason: 'upgrade-dropped',
  peer: 'alice',
  missing: 'HTTP/1.0, Connection: close',
};

it('the refusal log warns of a rejected peer once a minute for each reason, and shows strangers only at debug', () => {
  const { logger, lines } = collectingLogger();
  const log = new RefusalLog(logger, '/assets');
  const otherPath: Refused = { admitted: undefined, reason: 'wrong-path', peer: 'alice', path: '/…' };
  for (let ms = 0; ms < 59_999; ms += 500) {
    log.note(dropped, '192.0.2.1', ms);
    log.note(otherPath, '192.0.2.1', ms);
    log.note({ admitted: undefined, reason: 'no-ticket' }, '192.0.2.2', ms);
  }
  const warnings = lines.filter(({ level }) => level > 20);
  expect(warnings).toEqual([
    expect.objectContaining({ level: 40, peer: 'alice', reason: 'upgrade-dropped', missing: dropped.missing }),
    expect.objectContaining({ level: 40, peer: 'alice', path: '/…', instead: '/assets/…' }),
  ]);
  expect(warnings[0]?.message).toMatch(
    /valid ticket of alice came without its WebSocket upgrade .*HTTP\/1\.0.*docs\/operations\.md/,
  );
  log.note(dropped, '192.0.2.1', 60_000);
  log.note({ ...dropped, peer: 'bob' }, '192.0.2.1', 60_000);
  expect(lines.filter(({ level }) => level > 20)).toHaveLength(4);
});

it('the refusal log says by how much a clock is wrong, and in which direction', () => {
  const { logger, lines } = collectingLogger();
  const log = new RefusalLog(logger, undefined);
  log.note({ admitted: undefined, reason: 'late', peer: 'alice', offset: -600 }, undefined, 0);
  log.note({ admitted: undefined, reason: 'early', peer: 'bob', offset: 7_200 }, undefined, 0);
  expect(lines.map(({ message }) => message)).toEqual([
    'a ticket of alice is 600 s old: the clock of alice or of this machine is wrong',
    'a ticket of bob is 7200 s in the future: the clock of bob or of this machine is wrong',
  ]);
});

it('the refusal log remembers a thousand rejected peers, and writes no line for more', () => {
  const { logger, lines } = collectingLogger();
  const log = new RefusalLog(logger, undefined);
  for (let i = 0; i < 10_000; i++) log.note({ ...dropped, peer: `evil/${i}` }, undefined, i);
  expect(lines.length).toBe(1_024);
});

it('the refusal log says for which relay a ticket is, if that is known, and what to do about it', () => {
  const { logger, lines } = collectingLogger();
  const log = new RefusalLog(logger, undefined);
  log.note({ admitted: undefined, reason: 'misdirected', peer: 'alice', meant: 'wss://b.example' }, undefined, 0);
  log.note({ admitted: undefined, reason: 'misdirected', peer: 'bob' }, undefined, 0);
  log.note({ admitted: undefined, reason: 'misdirected', peer: 'bob' }, undefined, 1);
  expect(lines).toEqual([
    expect.objectContaining({ level: 40, peer: 'alice', reason: 'misdirected', meant: 'wss://b.example' }),
    expect.objectContaining({ level: 40, peer: 'bob', reason: 'misdirected' }),
  ]);
  expect(lines[0]?.message).toMatch(
    /is for wss:\/\/b\.example, which is another relay .* --own-url wss:\/\/b\.example;/,
  );
  expect(lines[1]?.message).toMatch(/is for another URL .* --own-url URL;/);
});
