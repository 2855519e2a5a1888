/**
 * A name server of records of all types, over UDP and TCP at one port of loopback (RFC 1035 §4.2): what an exit asks in
 * tests. It knows its zone and nothing else, and truncates over UDP what is longer than the asker allows.
 */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import packet from 'dns-packet';
import { framed, MessageReader } from '../../../src/dns/framing.ts';
import { soa } from '../dns-messages.ts';
import { atEnd } from '../scope.ts';

export interface RecordServer {
  /** `127.0.0.1:PORT`, as `--dns` takes it. */
  readonly address: string;
  /** What was asked, in order: `TXT name udp`. */
  readonly questions: string[];
}

/** Records by their names; a name without records of the type that is asked has no such record. */
export type Zone = Readonly<Record<string, readonly packet.Answer[] | 'SERVFAIL' | 'REFUSED'>>;

const RCODE = { NOERROR: 0, SERVFAIL: 2, NXDOMAIN: 3, REFUSED: 5 } as const;
/** How long it may be taken for granted that a name does not exist, s. */
const NEGATIVE_TTL_S = 30;

/** Until the test, or the file, is over. */
export async function startRecordServer(zone: Zone): Promise<RecordServer> {
  const questions: string[] = [];
  const answer = (query: Buffer, over: 'udp' | 'tcp'): Buffer => answerTo(query, zone, over, questions);
  const server = createServer((socket) => {
    const reader = new MessageReader();
    socket.on('error', () => {});
    socket.on('data', (bytes: Buffer) => {
      for (const query of reader.receive(bytes)) socket.write(framed(answer(Buffer.from(query), 'tcp')));
    });
    atEnd(() => socket.destroy());
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const socket = createSocket('udp4');
  socket.on('message', (query, from) => socket.send(answer(query, 'udp'), from.port, from.address));
  socket.bind(port, '127.0.0.1');
  await once(socket, 'listening');
  atEnd(() => {
    server.close();
    socket.close();
  });
  return { address: `127.0.0.1:${port}`, questions };
}

function answerTo(query: Buffer, zone: Zone, over: 'udp' | 'tcp', questions: string[]): Buffer {
  const { id = 0, questions: asked = [], additionals = [] } = packet.decode(query);
  const { name = '', type = 'A' } = asked[0] ?? {};
  questions.push(`${type} ${name} ${over}`);
  const found = zone[name.toLowerCase()];
  const records = Array.isArray(found) ? found : [];
  const answers = records.filter((record) => record.type === type || record.type === 'CNAME');
  const rcode = typeof found === 'string' ? found : found === undefined ? 'NXDOMAIN' : 'NOERROR';
  const isNegative = rcode === 'NXDOMAIN' || (rcode === 'NOERROR' && answers.length === 0);
  const flags = packet.RECURSION_DESIRED | packet.RECURSION_AVAILABLE | RCODE[rcode];
  const authorities = isNegative ? [soa('wstun.example', 300, NEGATIVE_TTL_S)] : [];
  const whole = packet.encode({ type: 'response', id, flags, questions: asked, answers, authorities });
  const [opt] = additionals;
  const most = over === 'tcp' ? 65_535 : opt?.type === 'OPT' ? Math.max(512, opt.udpPayloadSize) : 512;
  if (whole.length <= most) return whole;
  return packet.encode({ type: 'response', id, flags: flags | packet.TRUNCATED_RESPONSE, questions: asked });
}
