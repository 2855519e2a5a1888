/**
 * SOCKS4 and its extension 4a (the memos "SOCKS: A protocol for TCP proxy across firewalls" and "SOCKS 4A", by Ying-Da
 * Lee): the server's side up to the request. Pure. The user id proves nothing and is ignored.
 */
import type { FaultName } from '../errors.ts';
import type { Target } from '../tunnel/stream/stream.ts';
import { targetOfIp, targetOfName } from './request-target.ts';
import { NOTHING, type SocksCommand, type SocksNegotiation, type SocksStep } from './socks-negotiation.ts';

/** Both strings of a request end with a NUL and have no limit of their own: 8 + 255 + 255 bytes and two NULs fit. */
const MAX_REQUEST_BYTES = 600;
const VERSION = 4;
const COMMANDS: Readonly<Record<number, SocksCommand>> = { 1: 'connect', 2: 'bind' };
/** VN CD DSTPORT DSTIP. */
const FIXED_BYTES = 8;

/** VN is 0 in replies. The address and port that follow mean nothing for CONNECT. */
const GRANTED = Uint8Array.of(0, 0x5a, 0, 0, 0, 0, 0, 0);
const FAILED = Uint8Array.of(0, 0x5b, 0, 0, 0, 0, 0, 0);

const MORE: SocksStep = { kind: 'more', reply: NOTHING };

export class Socks4Negotiation implements SocksNegotiation {
  readonly granted = GRANTED;
  private buffer: Buffer = Buffer.alloc(0);

  /** `closedToAll`: a password is required, which this protocol cannot send. */
  constructor(private readonly closedToAll: boolean) {}

  receive(bytes: Uint8Array): SocksStep {
    if (this.closedToAll) return refuse('proxy-unauthorised');
    this.buffer = Buffer.concat([this.buffer, bytes]);
    return readRequest(this.buffer);
  }

  /** An IPv6 address has no place in it: then the port alone is told. */
  grantedAt(place: Target): Uint8Array {
    const bytes = Buffer.from(GRANTED);
    bytes.writeUInt16BE(place.port, 2);
    if (place.kind === 'ip' && place.ip.length === 4) bytes.set(place.ip, 4);
    return bytes;
  }

  /** 5C and 5D are about identd, which is not used: every fault has the same code. */
  failed(_fault: FaultName): Uint8Array {
    return FAILED;
  }
}

/** VN CD DSTPORT DSTIP USERID NUL; in 4a, where DSTIP is 0.0.0.x and x is not 0, a name and a NUL follow. */
function readRequest(bytes: Buffer): SocksStep {
  const [version, code] = bytes;
  if (version !== undefined && version !== VERSION)
    return { kind: 'refused', fault: 'proxy-malformed', reply: NOTHING };
  const command = COMMANDS[code ?? 0];
  if (code !== undefined && command === undefined) return refuse('proxy-command');
  if (command === undefined || bytes.length < FIXED_BYTES) return MORE;
  const userEnd = findNul(bytes, FIXED_BYTES);
  if (typeof userEnd !== 'number') return userEnd;
  const port = bytes.readUInt16BE(2);
  const ip = bytes.subarray(4, FIXED_BYTES);
  if (ip.readUIntBE(0, 3) === 0 && ip[3] !== 0) return readName(bytes, command, userEnd + 1, port);
  const target = targetOfIp(ip, port);
  return { kind: 'request', reply: NOTHING, command, target, rest: bytes.subarray(userEnd + 1) };
}

function readName(bytes: Buffer, command: SocksCommand, start: number, port: number): SocksStep {
  const end = findNul(bytes, start);
  if (typeof end !== 'number') return end;
  const target = targetOfName(bytes.toString('latin1', start, end), port);
  if (target === undefined) return refuse('dial-bad-target');
  return { kind: 'request', reply: NOTHING, command, target, rest: bytes.subarray(end + 1) };
}

/** The next NUL, or what to do without one. The limit counts from the start, however the bytes are split. */
function findNul(bytes: Buffer, from: number): number | SocksStep {
  const within = bytes.subarray(0, MAX_REQUEST_BYTES);
  const at = within.indexOf(0, from);
  if (at >= 0) return at;
  return within.length === MAX_REQUEST_BYTES ? refuse('proxy-malformed') : MORE;
}

function refuse(fault: FaultName): SocksStep {
  return { kind: 'refused', fault, reply: FAILED };
}
