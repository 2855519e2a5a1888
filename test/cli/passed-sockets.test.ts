import { describe, expect, it } from 'vitest';
import { passedSockets } from '../../src/cli/passed-sockets.ts';
import { faultOf } from '../support/faults.ts';

const PID = 1234;
const passed = (environment: Record<string, string>) => passedSockets({ LISTEN_PID: `${PID}`, ...environment }, PID);

describe('the sockets passed to this process', () => {
  it('passed sockets are the descriptors from 3 on, with their names if they have any', () => {
    expect(passed({ LISTEN_FDS: '1' })).toEqual([{ fd: 3, name: '' }]);
    expect(passed({ LISTEN_FDS: '2', LISTEN_FDNAMES: 'a.socket:b' })).toEqual([
      { fd: 3, name: 'a.socket' },
      { fd: 4, name: 'b' },
    ]);
  });

  it('there are no passed sockets without LISTEN_FDS, or if LISTEN_PID is another process', () => {
    expect(passedSockets({}, PID)).toEqual([]);
    expect(passed({})).toEqual([]);
    expect(passed({ LISTEN_FDS: '0' })).toEqual([]);
    expect(passedSockets({ LISTEN_FDS: '1' }, PID)).toEqual([]);
    expect(passed({ LISTEN_FDS: 'nonsense', LISTEN_PID: '1' })).toEqual([]);
  });

  it.each([
    [{ LISTEN_FDS: 'nonsense' }],
    [{ LISTEN_FDS: '' }],
    [{ LISTEN_FDS: '-1' }],
    [{ LISTEN_FDS: '1.5' }],
    [{ LISTEN_FDS: '65' }],
    [{ LISTEN_FDS: '1', LISTEN_PID: 'self' }],
    [{ LISTEN_FDS: '1', LISTEN_FDNAMES: 'a:b' }],
    [{ LISTEN_FDS: '0', LISTEN_FDNAMES: 'a' }],
  ])('passed sockets are rejected if the environment is invalid: %j', (environment) => {
    expect(faultOf(() => passed(environment))).toBe('bad-passed-socket');
  });
});
