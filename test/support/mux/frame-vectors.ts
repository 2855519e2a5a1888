/** The frames and the records of docs/protocol.md, appendix A, by the names of their vectors: what each says. */
import type { RecordEncoder } from '../../../src/protocol/frame-encoder.ts';
import type { RecordHeader } from '../../../src/protocol/record-header.ts';
import { encodeRelays } from '../../../src/protocol/relays.ts';
import { ipTarget } from '../net/targets.ts';

/** What the ping carries. */
const PING = Uint8Array.from({ length: 8 }, (_, i) => i);

export const FRAME_VECTORS: [string, (encoder: RecordEncoder) => void][] = [
  ['frame.hello', (to) => to.hello(1024, 1)],
  ['frame.open.ipv4', (to) => to.open(1, 262_144, { service: 'tcp', target: ipTarget('192.0.2.1', 443) })],
  [
    'frame.open.name',
    (to) => to.open(3, 262_144, { service: 'tcp', target: { kind: 'name', name: 'example.org', port: 80 } }),
  ],
  ['frame.open.ipv6', (to) => to.open(5, 262_144, { service: 'tcp', target: ipTarget('2001:db8::1', 443) })],
  ['frame.open.udp', (to) => to.open(7, 0, { service: 'udp', target: { kind: 'ip', ip: new Uint8Array(4), port: 0 } })],
  ['frame.open.udp-connected', (to) => to.open(9, 0, { service: 'udp', target: ipTarget('192.0.2.1', 51_820) })],
  [
    'frame.open.resolver',
    (to) => to.open(11, 65_536, { service: 'resolver', target: { kind: 'ip', ip: new Uint8Array(4), port: 0 } }),
  ],
  ['frame.open.tcp-listener', (to) => to.open(13, 0, { service: 'tcp-listener', target: ipTarget('127.0.0.1', 8080) })],
  [
    'frame.open.accepted',
    (to) => to.open(2, 65_536, { service: 'accepted', target: ipTarget('192.0.2.7', 49_152), listener: 13 }),
  ],
  ['frame.opened.listener', (to) => to.opened(13, 0, ipTarget('127.0.0.1', 8080))],
  ['frame.datagram.connected', (to) => to.datagram(9, undefined, Buffer.from('ping'))],
  ['frame.datagram.ipv4', (to) => to.datagram(7, ipTarget('192.0.2.1', 53), Buffer.from('ping'))],
  ['frame.datagram.name', (to) => to.datagram(7, { kind: 'name', name: 'example.org', port: 53 }, Buffer.from('ping'))],
  ['frame.opened', (to) => to.opened(1, 262_144)],
  ['frame.open-failed', (to) => to.openFailed(3, 'dial-refused')],
  [
    'frame.data',
    (to) => {
      to.dataHeader(1, 4);
      to.payload(Buffer.from('ping'));
    },
  ],
  ['frame.credit', (to) => to.credit(1, 65_536)],
  ['frame.finish', (to) => to.finish(1)],
  ['frame.reset', (to) => to.reset(1, 'target-reset')],
  ['frame.ping', (to) => to.ping(PING)],
  ['frame.pong', (to) => to.pong(PING)],
  ['frame.go-away', (to) => to.goAway('shutting-down', 5)],
  ['frame.links', (to) => to.links(3, 16_384)],
  [
    'frame.relays',
    (to) =>
      to.relays(
        encodeRelays({
          urls: ['wss://a.example', 'ws://[2001:db8::1]:8080/b'],
          pins: [new Uint8Array(32).fill(0xa5)],
        }),
      ),
  ],
];

const acknowledged = { position: 1, receivedUs: 1_000_000 };
/** The header of each record, and the names of its frames. */
export const RECORD_VECTORS: [string, RecordHeader, string[]][] = [
  ['record.first', { isNumbered: true, mayWait: false, acknowledged: undefined }, ['frame.hello', 'frame.open.ipv4']],
  ['record.acknowledgement', { isNumbered: false, mayWait: false, acknowledged }, []],
  ['record.may-wait', { isNumbered: true, mayWait: true, acknowledged }, ['frame.data']],
  ['record.datagram', { isNumbered: false, mayWait: false, acknowledged: undefined }, ['frame.datagram.connected']],
  ['record.datagram.acknowledges', { isNumbered: false, mayWait: false, acknowledged }, ['frame.datagram.connected']],
  ['record.empty', { isNumbered: true, mayWait: false, acknowledged: undefined }, []],
];
