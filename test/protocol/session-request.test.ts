import { describe, expect, it } from 'vitest';
import { FAULTS, faultOfSessionCode, faultOfStreamCode } from '../../src/errors.ts';
import { decodeSessionAnswer } from '../../src/protocol/session-request.ts';

function answer(code: number, bytes = 8): Buffer {
  const record = Buffer.alloc(bytes);
  record.writeUInt16BE(code);
  return record;
}

describe('The answer of an exit on a new link', () => {
  it('an answer with an unknown code, or a code for streams, means that there is no session', () => {
    for (const code of [25, 32, 36, 44, 999, 65_535])
      expect(decodeSessionAnswer([answer(code)])).toEqual({ fault: 'session-closed' });
    for (const fault of ['session-unknown', 'keys-rotated', 'too-many-links', 'access-removed', 'overloaded'] as const)
      expect(decodeSessionAnswer([answer(FAULTS[fault].wire)])).toEqual({ fault });
  });

  it('an answer of another length is rejected', () => {
    for (const bytes of [2, 7, 9, 100]) expect(decodeSessionAnswer([answer(0, bytes)])).toBeUndefined();
  });
});

describe('Codes of faults', () => {
  it('a code is read as that of a stream or of a session only where it is valid: programs get no session faults', () => {
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
