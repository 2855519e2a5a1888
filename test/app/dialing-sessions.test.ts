import { expect, it } from 'vitest';
import { muxLimits } from '../../src/app/dialing-sessions.ts';
import { checkMuxConfig, DEFAULT_MUX_CONFIG } from '../../src/mux/config.ts';

const MIB = 2 ** 20;

it('session limits from limits.toml contradict no other limit, at either end of their ranges', () => {
  for (const limits of [
    {},
    { streams: 1, opens: 1, session_memory: MIB },
    { streams: 65_536, opens: 1_000_000, session_memory: 4096 * MIB },
  ])
    expect(() => checkMuxConfig({ ...DEFAULT_MUX_CONFIG, ...muxLimits(limits), role: 'exit' })).not.toThrow();
});

it('session_memory covers what a session grants and what it queues; its default equals no file', () => {
  expect(muxLimits({})).toEqual({});
  const { sessionWindowBytes, sendBudgetBytes } = DEFAULT_MUX_CONFIG;
  expect(muxLimits({ session_memory: 33 * MIB })).toEqual({ sessionWindowBytes, sendBudgetBytes });
});
