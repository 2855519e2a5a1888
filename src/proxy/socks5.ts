/**
 * SOCKS5 (RFC 1928) with user/password (RFC 1929), the server's side up to the request. Pure: bytes in, replies and the
 * request out.
 *
 * Never buffers more than one incomplete message, the longest of which (user and password) has 513 bytes.
 */
import type { FaultName } from '../errors.ts';
import type { Target } from '../tunnel/stream/stream.ts';
import type { CredentialCheck } from './credentials.ts';
import { readSocksAddress, socksAddressLength, writeSocksAddress } from './socks-address.ts';
import { NOTHING, type SocksCommand, type SocksNegotiation, type SocksStep } from './socks-negotiation.ts';

const VERSION = 5;
const METHOD_NONE = 0;
const METHOD_PASSWORD = 2;
const METHOD_NOT_ACCEPTABLE = 0xff;
/** RFC 1928 §4. The last is of hev-socks5-core. */
const COMMANDS: Readonly<Record<number, SocksCommand>> = {
  1: 'connect',
  2: 'bind',
  3: 'udp-associate',
  5: 'udp-in-tcp',
};
/** Of requests and replies: where ATYP is. */
const ADDRESS_AT = 3;

/** RFC 1929 §2. */
const PASSWORD_VERSION = 1;
const PASSWORD_RIGHT = Uint8Array.of(PASSWORD_VERSION, 0);
const PASSWORD_WRONG = Uint8Array.of(PASSWORD_VERSION, 1);

/** RFC 1928 §6, the field REP. */
const REPLY: Readonly<Partial<Record<FaultName, number>>> = {
  'dial-not-allowed': 2,
  'listen-not-allowed': 2,
  'quota-used': 2,
  'dial-network-unreachable': 3,
  'dial-host-unreachable': 4,
  'dial-name-unknown': 4,
  'dial-refused': 5,
  'dial-timed-out': 6,
  'proxy-command': 7,
  'service-unknown': 7,
  'proxy-address-type': 8,
};
const GENERAL_FAILURE = 1;

const NOWHERE: Target = { kind: 'ip', ip: new Uint8Array(4), port: 0 };

/** RFC 1928 §6. BND is 0.0.0.0:0 for CONNECT: the program is not told where the exit's own socket is bound. */
function reply(code: number, bound = NOWHERE): Uint8Array {
  const bytes = Buffer.alloc(ADDRESS_AT + socksAddressLength(bound));
  bytes.set([VERSION, code]);
  writeSocksAddress(bytes, ADDRESS_AT, bound);
  return bytes;
}

/** The outcome of one message at the head of the buffer. `length`: its bytes. */
type Message =
  | { readonly kind: 'incomplete' }
  | {
      readonly kind: 'answer';
      readonly length: number;
      readonly reply: Uint8Array;
      readonly next: 'password' | 'request';
    }
  | {
      readonly kind: 'request';
      readonly length: number;
      readonly command: SocksCommand;
      readonly target: Target;
    }
  | { readonly kind: 'refused'; readonly reply: Uint8Array; readonly fault: FaultName };

const INCOMPLETE: Message = { kind: 'incomplete' };

function refusedMessage(fault: FaultName, bytes: Uint8Array): Message {
  return { kind: 'refused', fault, reply: bytes };
}

export class Socks5Negotiation implements SocksNegotiation {
  readonly granted = reply(0);
  private awaited: 'greeting' | 'password' | 'request' = 'greeting';
  private buffer: Buffer = Buffer.alloc(0);

  constructor(private readonly check: CredentialCheck | undefined) {}

  /** Programs may send greeting, password and request in one go, and get all replies at once. */
  receive(bytes: Uint8Array): SocksStep {
    this.buffer = Buffer.concat([this.buffer, bytes]);
    const replies: Uint8Array[] = [];
    for (;;) {
      const message = this.read();
      if (message.kind === 'incomplete') return { kind: 'more', reply: Buffer.concat(replies) };
      if (message.kind === 'refused') {
        return { kind: 'refused', fault: message.fault, reply: Buffer.concat([...replies, message.reply]) };
      }
      this.buffer = this.buffer.subarray(message.length);
      if (message.kind === 'request') {
        const { command, target } = message;
        return { kind: 'request', reply: Buffer.concat(replies), command, target, rest: this.buffer };
      }
      this.awaited = message.next;
      replies.push(message.reply);
    }
  }

  grantedAt(place: Target): Uint8Array {
    return reply(0, place);
  }

  failed(fault: FaultName): Uint8Array {
    return reply(REPLY[fault] ?? GENERAL_FAILURE);
  }

  private read(): Message {
    switch (this.awaited) {
      case 'greeting':
        return this.greeting(this.buffer);
      case 'password':
        return this.password(this.buffer);
      case 'request':
        return this.request(this.buffer);
    }
  }

  /** RFC 1928 §3: VER NMETHODS METHODS. Where no credentials are required, any are accepted. */
  private greeting(bytes: Buffer): Message {
    const [version, count] = bytes;
    if (version !== undefined && version !== VERSION) return refusedMessage('proxy-malformed', NOTHING);
    if (count === undefined || bytes.length < 2 + count) return INCOMPLETE;
    const offered = bytes.subarray(2, 2 + count);
    const usable = this.check === undefined ? [METHOD_NONE, METHOD_PASSWORD] : [METHOD_PASSWORD];
    const method = usable.find((candidate) => offered.includes(candidate));
    if (method === undefined) {
      const fault = count === 0 || this.check === undefined ? 'proxy-malformed' : 'proxy-unauthorised';
      return refusedMessage(fault, Uint8Array.of(VERSION, METHOD_NOT_ACCEPTABLE));
    }
    const next = method === METHOD_PASSWORD ? 'password' : 'request';
    return { kind: 'answer', length: 2 + count, reply: Uint8Array.of(VERSION, method), next };
  }

  /** RFC 1929 §2: VER ULEN UNAME PLEN PASSWD. */
  private password(bytes: Buffer): Message {
    const [version, userLength] = bytes;
    if (version !== undefined && version !== PASSWORD_VERSION) return refusedMessage('proxy-malformed', PASSWORD_WRONG);
    if (userLength === undefined) return INCOMPLETE;
    const passLength = bytes[2 + userLength];
    if (passLength === undefined) return INCOMPLETE;
    const length = 3 + userLength + passLength;
    if (bytes.length < length) return INCOMPLETE;
    const user = bytes.subarray(2, 2 + userLength);
    const pass = bytes.subarray(3 + userLength, length);
    const right = this.check === undefined || this.check.accepts(user, pass);
    if (!right) return refusedMessage('proxy-unauthorised', PASSWORD_WRONG);
    return { kind: 'answer', length, reply: PASSWORD_RIGHT, next: 'request' };
  }

  /** RFC 1928 §4: VER CMD RSV ATYP DST.ADDR DST.PORT. RSV is ignored: some programs leave rubbish in it. */
  private request(bytes: Buffer): Message {
    const [version, code = 0, , type] = bytes;
    // A SOCKS5 reply, whatever the version: it follows a SOCKS5 greeting.
    if (version !== undefined && version !== VERSION) return this.refuse('proxy-malformed');
    if (type === undefined) return INCOMPLETE;
    const command = COMMANDS[code];
    if (command === undefined) return this.refuse('proxy-command');
    const address = readSocksAddress(bytes, ADDRESS_AT);
    if (address.kind === 'incomplete') return INCOMPLETE;
    if (address.kind === 'refused') return this.refuse(address.fault);
    return { kind: 'request', length: address.end, command, target: address.target };
  }

  private refuse(fault: FaultName): Message {
    return refusedMessage(fault, this.failed(fault));
  }
}
