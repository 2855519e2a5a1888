import { describe, expect, it } from 'vitest';
import { FAULTS, faultOfSessionCode, faultOfStreamCode } from '../../src/errors.ts';
import { decodeSessionAnswer } from '../../src/protocol/session-request.ts';

function answer(code: number, bytes = 8): Buffer {
  const record = Buffer.alloc(bytes);
  record.writeUInt16BE(code);
  return record;
}

describe('an exit’s answer', () => {
  it('with a code that nobody knows, or that is for streams, says no more than that there is no session', () => {
    for (const code of [19, 32, 36, 44, 999, 65_535])
      expect(decodeSessionAnswer([answer(code)])).toEqual({ fault: 'session-closed' });
    for (const fault of ['session-unknown', 'keys-rotated', 'access-removed', 'overloaded'] as const)
      expect(decodeSessionAnswer([answer(FAULTS[fault].wire)])).toEqual({ fault });
  });

  it('of another length is none', () => {
    for (const bytes of [2, 7, 9, 100]) expect(decodeSessionAnswer([answer(0, bytes)])).toBeUndefined();
  });
});

describe('a code', () => {
  it('is taken for a stream’s, or for a session’s, only where it can be: programs hear nothing of sessions', () => {
    for (const fault of Object.values(FAULTS)) {
      if (!('wire' in fault)) continue;
      const isOfDials = fault.class === 'dial';
      expect(FAULTS[faultOfStreamCode(fault.wire)].class).not.toBe('protocol');
      expect(FAULTS[faultOfSessionCode(fault.wire)].class).not.toBe('dial');
      if (isOfDials) expect(FAULTS[faultOfStreamCode(fault.wire)]).toBe(fault);
      else expect(FAULTS[faultOfSessionCode(fault.wire)]).toBe(fault);
    }
  });
});
