/**
 * NTLMv2 for HTTP (MS-NLMP): the messages of type 1 and 3, and what is read of type 2. Pure but for its hashes. No
 * signing, no sealing, no MIC: HTTP needs none.
 */
import { createHmac } from 'node:crypto';
import { md4 } from './md4.ts';
import type { ProxyCredentials } from './proxy-credentials.ts';

const SIGNATURE = Buffer.from('NTLMSSP\0', 'latin1');

/** MS-NLMP §2.2.2.5: UNICODE, OEM, REQUEST_TARGET, NTLM, ALWAYS_SIGN, EXTENDED_SESSIONSECURITY. */
const FLAGS = 0x0008_8207;
const UNICODE = 0x1;
const OEM = 0x2;
/** Seconds from 1601 to 1970. */
const EPOCH_S = 11_644_473_600n;
/** MS-NLMP §2.2.2.1. */
const AV_TIMESTAMP = 7;

export interface NtlmChallenge {
  readonly serverChallenge: Buffer;
  readonly flags: number;
  /** AV pairs; empty if the server sends none. */
  readonly targetInfo: Buffer;
}

/** A message of type 1, base64. */
export function ntlmNegotiate(): string {
  const message = Buffer.alloc(32);
  SIGNATURE.copy(message);
  message.writeUInt32LE(1, 8);
  message.writeUInt32LE(FLAGS, 12);
  return message.toString('base64');
}

/** @param token base64. Undefined if it is no message of type 2. */
export function readNtlmChallenge(token: string): NtlmChallenge | undefined {
  const message = Buffer.from(token, 'base64');
  if (message.length < 32 || !message.subarray(0, 8).equals(SIGNATURE) || message.readUInt32LE(8) !== 2)
    return undefined;
  const hasInfo = message.length >= 48;
  const [length, offset] = hasInfo ? [message.readUInt16LE(40), message.readUInt32LE(44)] : [0, 0];
  return {
    serverChallenge: message.subarray(24, 32),
    flags: message.readUInt32LE(20),
    targetInfo: message.subarray(offset, offset + length),
  };
}

export interface NtlmMoment {
  /** Milliseconds since 1970. */
  readonly time: number;
  /** 8 random bytes. */
  readonly clientChallenge: Buffer;
}

/** A message of type 3, base64. The user name may be `DOMAIN\user` or `user@domain`. */
export function ntlmAuthenticate(challenge: NtlmChallenge, credentials: ProxyCredentials, moment: NtlmMoment): string {
  const { domain, user } = splitUser(credentials.exposeUser());
  const responses = ntlmResponses(challenge, { domain, user, password: credentials.exposePassword() }, moment);
  const isUnicode = (challenge.flags & UNICODE) !== 0;
  const text = (value: string): Buffer => Buffer.from(value, isUnicode ? 'utf16le' : 'latin1');
  // LM response, NT response, domain, user, workstation, session key: each has a length twice, and an offset.
  const fields = [responses.lm, responses.nt, text(domain), text(user), Buffer.alloc(0), Buffer.alloc(0)];
  const head = Buffer.alloc(64);
  SIGNATURE.copy(head);
  head.writeUInt32LE(3, 8);
  let offset = head.length;
  for (const [i, field] of fields.entries()) {
    head.writeUInt16LE(field.length, 12 + 8 * i);
    head.writeUInt16LE(field.length, 14 + 8 * i);
    head.writeUInt32LE(offset, 16 + 8 * i);
    offset += field.length;
  }
  // One of the two: a server that offers both must know which one the texts have.
  head.writeUInt32LE(challenge.flags & FLAGS & ~(isUnicode ? OEM : UNICODE), 60);
  return Buffer.concat([head, ...fields]).toString('base64');
}

interface NtlmAccount {
  readonly domain: string;
  readonly user: string;
  readonly password: string;
}

/** MS-NLMP §3.3.2. Exported for its test vectors (§4.2.4). */
export function ntlmResponses(
  { serverChallenge, targetInfo }: NtlmChallenge,
  { domain, user, password }: NtlmAccount,
  { time, clientChallenge }: NtlmMoment,
): { readonly lm: Buffer; readonly nt: Buffer } {
  const key = hmac(md4(Buffer.from(password, 'utf16le')), Buffer.from(user.toUpperCase() + domain, 'utf16le'));
  const serverTime = avPair(targetInfo, AV_TIMESTAMP);
  const begin = Buffer.from([1, 1, 0, 0, 0, 0, 0, 0]);
  const zeros = Buffer.alloc(4);
  const temp = Buffer.concat([begin, serverTime ?? fileTime(time), clientChallenge, zeros, targetInfo, zeros]);
  const proof = hmac(key, Buffer.concat([serverChallenge, temp]));
  const lm = Buffer.concat([hmac(key, Buffer.concat([serverChallenge, clientChallenge])), clientChallenge]);
  // §3.1.5.1.2: a server that sends its time gets no LM response.
  return { lm: serverTime === undefined ? lm : Buffer.alloc(24), nt: Buffer.concat([proof, temp]) };
}

function splitUser(name: string): { readonly domain: string; readonly user: string } {
  const slash = name.indexOf('\\');
  return slash < 0 ? { domain: '', user: name } : { domain: name.slice(0, slash), user: name.slice(slash + 1) };
}

/** In tenths of a microsecond since 1601. */
function fileTime(time: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE((BigInt(Math.floor(time)) + EPOCH_S * 1000n) * 10_000n);
  return bytes;
}

function avPair(info: Buffer, wanted: number): Buffer | undefined {
  let at = 0;
  while (at + 4 <= info.length) {
    const [id, length] = [info.readUInt16LE(at), info.readUInt16LE(at + 2)];
    if (id === wanted) return info.length >= at + 4 + length ? info.subarray(at + 4, at + 4 + length) : undefined;
    if (id === 0) return undefined;
    at += 4 + length;
  }
  return undefined;
}

function hmac(key: Buffer, data: Buffer): Buffer {
  return createHmac('md5', key).update(data).digest();
}
