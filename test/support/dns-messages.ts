/** DNS messages for tests, written and read by dns-packet: a second opinion on what src/dns makes of bytes. */
import packet from 'dns-packet';

export const query = (name: string, type: string, more: Partial<packet.Packet> = {}): Buffer =>
  packet.encode({
    ...{ type: 'query', id: 4711, flags: packet.RECURSION_DESIRED },
    questions: [{ name, type: type as packet.RecordType, class: 'IN' }],
    ...more,
  });

export const edns = (udpPayloadSize = 1232, flags = 0): packet.OptAnswer => ({
  ...{ type: 'OPT', name: '.', udpPayloadSize, extendedRcode: 0, ednsVersion: 0, flags, flag_do: false },
  options: [],
});

/** An answer to `asked`, with its id and question. @param rcode NOERROR 0, SERVFAIL 2, NXDOMAIN 3, REFUSED 5 */
export function answer(
  asked: Uint8Array,
  answers: packet.Answer[],
  more: Partial<packet.Packet> = {},
  rcode = 0,
): Buffer {
  const { id = 0, questions = [] } = packet.decode(Buffer.from(asked));
  const flags = packet.RECURSION_DESIRED | packet.RECURSION_AVAILABLE | rcode;
  return packet.encode({ type: 'response', id, flags, questions, answers, ...more });
}

export const soa = (name: string, ttl: number, minimum: number): packet.Answer => ({
  ...{ type: 'SOA', name, ttl, class: 'IN' },
  data: { mname: `ns.${name}`, rname: `root.${name}`, serial: 1, refresh: 2, retry: 3, expire: 4, minimum },
});

export const decode = (message: Uint8Array): packet.DecodedPacket & { rcode?: string } =>
  packet.decode(Buffer.from(message));
