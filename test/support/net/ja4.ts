/**
 * The JA4 fingerprint of a TLS client, of the first bytes that it sends: FoxIO, "JA4: TLS Client Fingerprinting"
 * (github.com/FoxIO-LLC/ja4, technical_details/JA4.md). For TLS over TCP only.
 */
import { createHash } from 'node:crypto';

const RECORD_HANDSHAKE = 22;
const CLIENT_HELLO = 1;
const SERVER_NAME = 0x0000;
const SIGNATURE_ALGORITHMS = 0x000d;
const ALPN = 0x0010;
const SUPPORTED_VERSIONS = 0x002b;

const VERSIONS: Readonly<Record<number, string>> = { 772: '13', 771: '12', 770: '11', 769: '10' };

/** @param sent by the client; must hold its whole ClientHello */
export function ja4(sent: Buffer): string {
  const hello = readHello(handshakeOf(sent));
  const extensions = [...hello.extensions.keys()];
  const hashed = extensions.filter((type) => type !== SERVER_NAME && type !== ALPN);
  const algorithms = listOf(hello.extensions.get(SIGNATURE_ALGORITHMS)?.subarray(2)).filter(isNoGrease);
  const tail = algorithms.length === 0 ? '' : `_${algorithms.map(hex).join(',')}`;
  const sni = hello.extensions.has(SERVER_NAME) ? 'd' : 'i';
  const head = `t${versionOf(hello)}${sni}${count(hello.ciphers)}${count(extensions)}${alpnOf(hello)}`;
  return `${head}_${digest(sorted(hello.ciphers))}_${digest(sorted(hashed) + tail)}`;
}

interface Hello {
  readonly version: number;
  readonly ciphers: readonly number[];
  readonly extensions: ReadonlyMap<number, Buffer>;
}

/** The handshake message, which may lie in several records. */
function handshakeOf(sent: Buffer): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0; at + 5 <= sent.length && sent[at] === RECORD_HANDSHAKE; at += 5 + sent.readUInt16BE(at + 3))
    parts.push(sent.subarray(at + 5, at + 5 + sent.readUInt16BE(at + 3)));
  const message = Buffer.concat(parts);
  if (message[0] !== CLIENT_HELLO || message.length < 4 + message.readUIntBE(1, 3)) throw new Error('no ClientHello');
  return message.subarray(4, 4 + message.readUIntBE(1, 3));
}

/** RFC 8446 §4.1.2, without GREASE (RFC 8701). */
function readHello(body: Buffer): Hello {
  const version = body.readUInt16BE(0);
  let at = 34;
  at += 1 + body.readUInt8(at);
  const ciphers = listOf(body.subarray(at + 2, at + 2 + body.readUInt16BE(at))).filter(isNoGrease);
  at += 2 + body.readUInt16BE(at);
  at += 1 + body.readUInt8(at);
  const extensions = new Map<number, Buffer>();
  for (at += 2; at + 4 <= body.length; at += 4 + body.readUInt16BE(at + 2)) {
    const type = body.readUInt16BE(at);
    if (isNoGrease(type)) extensions.set(type, body.subarray(at + 4, at + 4 + body.readUInt16BE(at + 2)));
  }
  return { version, ciphers, extensions };
}

function versionOf({ version, extensions }: Hello): string {
  const offered = listOf(extensions.get(SUPPORTED_VERSIONS)?.subarray(1)).filter(isNoGrease);
  return VERSIONS[offered.length === 0 ? version : Math.max(...offered)] ?? '00';
}

/** The first and the last character of the first name. */
function alpnOf({ extensions }: Hello): string {
  const names = extensions.get(ALPN)?.subarray(2);
  const first = names?.subarray(1, 1 + (names[0] ?? 0)).toString('latin1') ?? '';
  return first === '' ? '00' : first.charAt(0) + first.charAt(first.length - 1);
}

function listOf(bytes: Buffer = Buffer.alloc(0)): number[] {
  return Array.from({ length: bytes.length >> 1 }, (_, i) => bytes.readUInt16BE(i * 2));
}

function isNoGrease(value: number): boolean {
  return (value & 0x0f0f) !== 0x0a0a || value >> 8 !== (value & 0xff);
}

const hex = (value: number) => value.toString(16).padStart(4, '0');
const sorted = (values: readonly number[]) => values.map(hex).sort().join(',');
const count = (values: readonly unknown[]) => String(Math.min(99, values.length)).padStart(2, '0');

function digest(text: string): string {
  return text === '' ? '000000000000' : createHash('sha256').update(text).digest('hex').slice(0, 12);
}
