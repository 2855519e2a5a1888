/**
 * Server name and ALPN protocols of a TLS ClientHello (RFC 8446 §4.1.2, RFC 6066 §3, RFC 7301 §3.1). Node chooses a
 * certificate before it shows the protocols, so for a challenge they are read before TLS begins. Pure.
 */

export interface ClientHello {
  /** Lower case; undefined if the client sent none. */
  readonly serverName: string | undefined;
  readonly protocols: readonly string[];
}

/** Of the message; those of today have 2 KB. */
const MAX_HELLO_BYTES = 16 * 1024;

const HANDSHAKE_RECORD = 22;
const CLIENT_HELLO = 1;
const RECORD_HEADER = 5;
const MESSAGE_HEADER = 4;
const SERVER_NAME = 0;
const HOST_NAME = 0;
const ALPN = 16;

/** @param bytes the beginning of a connection. @returns `other` for all that is not a well-formed ClientHello */
export function readClientHello(bytes: Buffer): ClientHello | 'incomplete' | 'other' {
  const message = messageOf(bytes);
  return typeof message === 'string' ? message : (parseHello(message) ?? 'other');
}

/** Out of the records that carry it: a message may be cut into several. */
function messageOf(bytes: Buffer): Buffer | 'incomplete' | 'other' {
  const pieces: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    if (bytes[at] !== HANDSHAKE_RECORD) return 'other';
    if (bytes.length - at < RECORD_HEADER) break;
    const end = at + RECORD_HEADER + bytes.readUInt16BE(at + 3);
    pieces.push(bytes.subarray(at + RECORD_HEADER, end));
    at = end;
  }
  const gathered = Buffer.concat(pieces);
  if (gathered.length > 0 && gathered[0] !== CLIENT_HELLO) return 'other';
  if (gathered.length < MESSAGE_HEADER) return 'incomplete';
  const end = MESSAGE_HEADER + gathered.readUIntBE(1, 3);
  if (end > MAX_HELLO_BYTES) return 'other';
  return gathered.length < end ? 'incomplete' : gathered.subarray(MESSAGE_HEADER, end);
}

function parseHello(message: Buffer): ClientHello | undefined {
  const reader = new Reader(message);
  reader.skip(2 + 32);
  for (const sizeOfLength of [1, 2, 1] as const) reader.vector(sizeOfLength);
  const extensions = new Reader(reader.isDone ? Buffer.alloc(0) : reader.vector(2));
  let hello: ClientHello = { serverName: undefined, protocols: [] };
  while (!extensions.isDone) {
    const type = extensions.number(2);
    const body = new Reader(extensions.vector(2));
    if (type === SERVER_NAME) hello = { ...hello, serverName: readServerName(body) };
    if (type === ALPN) hello = { ...hello, protocols: readProtocols(body) };
    if (body.isBroken) return undefined;
  }
  return reader.isBroken || extensions.isBroken ? undefined : hello;
}

function readServerName(body: Reader): string | undefined {
  const names = new Reader(body.vector(2));
  while (!names.isDone) {
    const type = names.number(1);
    const name = names.vector(2);
    if (type === HOST_NAME && !names.isBroken) return name.toString('latin1').toLowerCase();
  }
  return undefined;
}

function readProtocols(body: Reader): string[] {
  const names = new Reader(body.vector(2));
  const protocols: string[] = [];
  while (!names.isDone) protocols.push(names.vector(1).toString('latin1'));
  return names.isBroken ? [] : protocols;
}

/** Reads beyond the end give nothing and are remembered. */
class Reader {
  private at = 0;
  private broken = false;

  constructor(private readonly bytes: Buffer) {}

  get isBroken(): boolean {
    return this.broken;
  }

  get isDone(): boolean {
    return this.broken || this.at >= this.bytes.length;
  }

  skip(length: number): void {
    this.take(length);
  }

  number(size: 1 | 2): number {
    const bytes = this.take(size);
    return bytes.length === size ? bytes.readUIntBE(0, size) : 0;
  }

  /** Its length is in front of it, in so many bytes. */
  vector(sizeOfLength: 1 | 2): Buffer {
    return this.take(this.number(sizeOfLength));
  }

  private take(length: number): Buffer {
    const end = this.at + length;
    if (end > this.bytes.length) this.broken = true;
    if (this.broken) return Buffer.alloc(0);
    const taken = this.bytes.subarray(this.at, end);
    this.at = end;
    return taken;
  }
}
