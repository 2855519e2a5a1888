/**
 * A small real name server on loopback UDP (RFC 1035): answers A and AAAA from a zone that a test may change at any
 * time.
 */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { isIPv4 } from 'node:net';

export interface DnsEntry {
  /** Addresses of both families. */
  readonly addresses?: readonly string[];
  /** Seconds; 60 by default. */
  readonly ttl?: number;
  readonly fault?: 'NXDOMAIN' | 'SERVFAIL';
  /** Questions of these types get no answer at all. */
  readonly silent?: readonly ('A' | 'AAAA')[];
}

export interface DnsServer {
  /** `127.0.0.1:PORT`, as `--dns` and `createResolver` take it. */
  readonly address: string;
  /** By lower-case name without a trailing dot. What is not in it gets NXDOMAIN. */
  readonly zone: Map<string, DnsEntry>;
  /** What was asked, in order: `A name`. */
  readonly questions: string[];
  close(): Promise<void>;
}

const TYPES = new Map([
  [1, 'A'],
  [28, 'AAAA'],
] as const);
const RCODES = { NXDOMAIN: 3, SERVFAIL: 2 } as const;

/** @param place default: any free port of loopback */
export async function startDnsServer(
  zone: Record<string, DnsEntry> = {},
  { host, port }: { readonly host: string; readonly port: number } = { host: '127.0.0.1', port: 0 },
): Promise<DnsServer> {
  const socket = createSocket('udp4');
  const entries = new Map(Object.entries(zone));
  const questions: string[] = [];
  socket.on('message', (query, from) => {
    const answer = answerTo(query, entries, questions);
    if (answer) socket.send(answer, from.port, from.address);
  });
  socket.bind(port, host);
  await once(socket, 'listening');
  return {
    address: `${host}:${socket.address().port}`,
    zone: entries,
    questions,
    async close() {
      socket.close();
      await once(socket, 'close');
    },
  };
}

function answerTo(query: Buffer, zone: ReadonlyMap<string, DnsEntry>, questions: string[]): Buffer | undefined {
  const { name, end } = readName(query, 12);
  const type = TYPES.get(query.readUInt16BE(end) as 1 | 28);
  questions.push(`${type ?? query.readUInt16BE(end)} ${name}`);
  const entry: DnsEntry = zone.get(name.toLowerCase()) ?? { fault: 'NXDOMAIN' };
  if (!type || entry.silent?.includes(type)) return undefined;
  const addresses = entry.fault ? [] : (entry.addresses ?? []).filter((ip) => isIPv4(ip) === (type === 'A'));
  const header = Buffer.alloc(12);
  query.copy(header, 0, 0, 2);
  header.writeUInt16BE(0x8180 | (entry.fault ? RCODES[entry.fault] : 0), 2);
  header.writeUInt16BE(1, 4);
  header.writeUInt16BE(addresses.length, 6);
  const records = addresses.map((ip) => record(query.readUInt16BE(end), ip, entry.ttl ?? 60));
  return Buffer.concat([header, query.subarray(12, end + 4), ...records]);
}

function readName(message: Buffer, start: number): { name: string; end: number } {
  const labels: string[] = [];
  let at = start;
  for (let length = message[at] ?? 0; length > 0; length = message[at] ?? 0) {
    labels.push(message.toString('latin1', at + 1, at + 1 + length));
    at += 1 + length;
  }
  return { name: labels.join('.'), end: at + 1 };
}

/** The owner is a pointer to the question's name, at offset 12. */
function record(type: number, ip: string, ttl: number): Buffer {
  const data = isIPv4(ip) ? Buffer.from(ip.split('.').map(Number)) : ipv6Bytes(ip);
  const head = Buffer.alloc(12);
  head.writeUInt16BE(0xc00c, 0);
  head.writeUInt16BE(type, 2);
  head.writeUInt16BE(1, 4);
  head.writeUInt32BE(ttl, 6);
  head.writeUInt16BE(data.length, 10);
  return Buffer.concat([head, data]);
}

function ipv6Bytes(ip: string): Buffer {
  const [head = '', tail = ''] = ip.split('::').map((side) => side);
  const groups = (side: string) => (side === '' ? [] : side.split(':'));
  const zeros = new Array<string>(8 - groups(head).length - groups(tail).length).fill('0');
  const all = [...groups(head), ...zeros, ...groups(tail)];
  return Buffer.from(all.map((group) => group.padStart(4, '0')).join(''), 'hex');
}
