/**
 * The calls of Linux that Node does not have (socket(2), ip(7), ipv6(7), signal(7)), by koffi. Owns the descriptors
 * that it opens until they are handed over or closed. Loaded only for --tproxy and --redirect. Decides nothing.
 *
 * That a socket can be read is told by SIGIO (fcntl(2), F_SETOWN): no thread waits for it
 * (docs/adr/0027-transparent-sockets.md).
 */
import { WstunError } from '../errors.ts';
import {
  ADDRESS_BYTES,
  AF_INET,
  AF_INET6,
  addressInControl,
  decodeAddress,
  encodeAddress,
  type Place,
} from './socket-address.ts';

type Koffi = typeof import('koffi')['default'];

const SOCK_STREAM = 1;
const SOCK_DGRAM = 2;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;

const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const SO_RCVBUF = 8;
const SOL_IP = 0;
const IP_TRANSPARENT = 19;
const IP_RECVORIGDSTADDR = 20;
const SO_ORIGINAL_DST = 80;
const SOL_IPV6 = 41;
const IPV6_V6ONLY = 26;
const IPV6_RECVORIGDSTADDR = 74;
const IPV6_TRANSPARENT = 75;

const F_SETFL = 4;
const F_SETOWN = 8;
const O_NONBLOCK = 0o4000;
const O_ASYNC = 0o20000;
const MSG_DONTWAIT = 0x40;

/** Datagrams read by one call. */
const BATCH = 32;
/** The longest payload of UDP over IPv4. */
const DATAGRAM_BYTES = 65_507;
/** Two control messages with an address each. */
const CONTROL_BYTES = 128;
/** Of a socket that many programs send to at once, bytes; the kernel may allow less (net.core.rmem_max). */
const RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024;

export interface ReceivedDatagram {
  /** A copy. */
  readonly bytes: Uint8Array;
  readonly source: Place;
  readonly destination: Place;
}

/** Why a call failed: `code` as Node names it. */
export class CallFault extends Error {
  constructor(
    readonly code: string,
    call: string,
  ) {
    super(`${call}: ${code}`);
  }
}

/** @throws WstunError transparent-unsupported */
export async function loadNative(): Promise<Native> {
  if (process.platform !== 'linux')
    throw new WstunError('transparent-unsupported', `only Linux can do it, and this is ${process.platform}`, {
      fix: 'Use the proxy of wstun client, or wstun vpn (docs/whole-machine.md).',
    });
  const loaded = await import('koffi').catch((cause: unknown) => {
    throw new WstunError('transparent-unsupported', 'the package koffi is missing', { cause });
  });
  return new Native(loaded.default);
}

export class Native {
  private readonly calls: ReturnType<typeof declare>;
  private inbox: Inbox | undefined;

  constructor(private readonly koffi: Koffi) {
    this.calls = declare(koffi);
  }

  /**
   * Listens for connections to any address that the firewall leads to it. @returns a descriptor for net.Server
   * @throws CallFault EPERM without CAP_NET_ADMIN, EADDRINUSE, EAFNOSUPPORT …
   */
  listenTransparent(place: Place, backlog: number): number {
    return this.open(SOCK_STREAM, place, (fd) => this.check('listen', this.calls.listen(fd, backlog)));
  }

  /** A socket that receives datagrams to any address that the firewall leads to it. @throws CallFault */
  bindTransparent(place: Place): number {
    return this.open(SOCK_DGRAM, place, (fd) => {
      const isIpv4 = place.ip.length === 4;
      this.set(fd, SOL_SOCKET, SO_RCVBUF, RECEIVE_BUFFER_BYTES);
      if (isIpv4) this.set(fd, SOL_IP, IP_RECVORIGDSTADDR, 1);
      else this.set(fd, SOL_IPV6, IPV6_RECVORIGDSTADDR, 1);
    });
  }

  /** A socket that sends from a foreign address. @throws CallFault */
  bindForeign(place: Place): number {
    return this.open(SOCK_DGRAM, place, () => {});
  }

  /** Calls `read` whenever datagrams may be there, until `fd` is closed. */
  onReadable(fd: number, read: () => void): () => void {
    // Whoever gets SIGIO without a handler is ended by it, so this one stays.
    if (listeners.size === 0 && !process.listeners('SIGIO').includes(tellAll)) process.on('SIGIO', tellAll);
    listeners.add(read);
    this.check('fcntl', this.calls.fcntl(fd, F_SETOWN, 'int', process.pid));
    this.check('fcntl', this.calls.fcntl(fd, F_SETFL, 'int', O_NONBLOCK | O_ASYNC));
    // What came before is told by no signal.
    setImmediate(read);
    return () => void listeners.delete(read);
  }

  /** Hands over up to BATCH datagrams. @returns false: there are no more at the moment */
  receive(fd: number, handle: (datagram: ReceivedDatagram) => void): boolean {
    this.inbox ??= new Inbox(this.koffi);
    this.inbox.prepare();
    const count = this.calls.recvmmsg(fd, this.inbox.headers, BATCH, MSG_DONTWAIT, null);
    for (const datagram of this.inbox.take(count)) handle(datagram);
    return count === BATCH;
  }

  /** False: it was dropped, as a network may. */
  send(fd: number, bytes: Uint8Array, to: Place): boolean {
    const address = encodeAddress(to);
    return this.calls.sendto(fd, bytes, bytes.length, MSG_DONTWAIT, address, address.length) >= 0;
  }

  /** Of an accepted connection that REDIRECT has led here. Undefined: it was not redirected. */
  originalDestination(fd: number, family: 4 | 6): Place | undefined {
    const address = Buffer.alloc(ADDRESS_BYTES);
    const length = Buffer.alloc(4);
    this.koffi.encode(length, 'uint32', ADDRESS_BYTES);
    const level = family === 4 ? SOL_IP : SOL_IPV6;
    if (this.calls.getsockopt(fd, level, SO_ORIGINAL_DST, address, length) < 0) return undefined;
    return decodeAddress(address);
  }

  close(fd: number): void {
    this.calls.close(fd);
  }

  private open(type: number, place: Place, finish: (fd: number) => void): number {
    const isIpv4 = place.ip.length === 4;
    const family = isIpv4 ? AF_INET : AF_INET6;
    const fd = this.check('socket', this.calls.socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    try {
      this.set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
      if (isIpv4) this.set(fd, SOL_IP, IP_TRANSPARENT, 1);
      else {
        this.set(fd, SOL_IPV6, IPV6_V6ONLY, 1);
        this.set(fd, SOL_IPV6, IPV6_TRANSPARENT, 1);
      }
      const address = encodeAddress(place);
      this.check('bind', this.calls.bind(fd, address, address.length));
      finish(fd);
      return fd;
    } catch (error) {
      this.close(fd);
      throw error;
    }
  }

  private set(fd: number, level: number, option: number, value: number): void {
    const bytes = Buffer.alloc(4);
    this.koffi.encode(bytes, 'int', value);
    this.check('setsockopt', this.calls.setsockopt(fd, level, option, bytes, bytes.length));
  }

  private check(call: string, result: number): number {
    if (result >= 0) return result;
    const { errno } = this.koffi.os;
    const found = this.koffi.errno();
    throw new CallFault(Object.keys(errno).find((name) => errno[name] === found) ?? `errno ${found}`, call);
  }
}

const listeners = new Set<() => void>();

function tellAll(): void {
  for (const read of listeners) read();
}

function declare(koffi: Koffi) {
  const libc = koffi.load(null);
  const one = (prototype: string) => libc.func(prototype) as (...args: unknown[]) => number;
  return {
    socket: one('int socket(int domain, int type, int protocol)'),
    setsockopt: one('int setsockopt(int fd, int level, int option, const void *value, uint32 length)'),
    getsockopt: one('int getsockopt(int fd, int level, int option, void *value, void *length)'),
    bind: one('int bind(int fd, const void *address, uint32 length)'),
    listen: one('int listen(int fd, int backlog)'),
    fcntl: one('int fcntl(int fd, int command, ...)'),
    recvmmsg: one('int recvmmsg(int fd, void *messages, uint32 count, int flags, void *timeout)'),
    sendto: one('long sendto(int fd, const void *bytes, size_t length, int flags, const void *to, uint32 toLength)'),
    close: one('int close(int fd)'),
  };
}

/** The memory into which datagrams are read, BATCH at a time: recvmmsg(2) writes through the pointers in `headers`. */
class Inbox {
  readonly headers: Buffer;
  private readonly data = Buffer.allocUnsafeSlow(BATCH * DATAGRAM_BYTES);
  private readonly names = Buffer.allocUnsafeSlow(BATCH * ADDRESS_BYTES);
  private readonly control = Buffer.allocUnsafeSlow(BATCH * CONTROL_BYTES);
  private readonly parts: Buffer;
  private readonly layout: ReturnType<typeof layoutOf>;
  private readonly fresh: Buffer;

  constructor(private readonly koffi: Koffi) {
    this.layout = layoutOf(koffi);
    const { part, partBytes, header, headerBytes } = this.layout;
    this.parts = Buffer.alloc(BATCH * partBytes);
    this.fresh = Buffer.alloc(BATCH * headerBytes);
    const at = (buffer: Buffer, offset: number) => koffi.address(buffer) + BigInt(offset);
    for (let i = 0; i < BATCH; i++) {
      koffi.encode(this.parts, i * partBytes, part, {
        base: at(this.data, i * DATAGRAM_BYTES),
        length: DATAGRAM_BYTES,
      });
      const message = {
        ...{ name: at(this.names, i * ADDRESS_BYTES), nameLength: ADDRESS_BYTES },
        ...{ parts: at(this.parts, i * partBytes), partCount: 1 },
        ...{ control: at(this.control, i * CONTROL_BYTES), controlLength: CONTROL_BYTES, flags: 0 },
      };
      koffi.encode(this.fresh, i * headerBytes, header, { message, length: 0 });
    }
    this.headers = Buffer.from(this.fresh);
  }

  /** The kernel writes how long names and control messages are into the headers that it was given. */
  prepare(): void {
    this.fresh.copy(this.headers);
  }

  take(count: number): ReceivedDatagram[] {
    const taken: ReceivedDatagram[] = [];
    for (let i = 0; i < count; i++) {
      const { length, source, destination } = this.read(i);
      if (source === undefined || destination === undefined) continue;
      const from = i * DATAGRAM_BYTES;
      taken.push({ bytes: new Uint8Array(this.data.subarray(from, from + length)), source, destination });
    }
    return taken;
  }

  private read(i: number): { length: number; source: Place | undefined; destination: Place | undefined } {
    const { headerBytes, lengthAt, controlLengthAt, sizeBytes } = this.layout;
    const header = this.headers.subarray(i * headerBytes, (i + 1) * headerBytes);
    const length = Number(this.koffi.decode(header, lengthAt, 'uint32'));
    const controlLength = Number(this.koffi.decode(header, controlLengthAt, 'size_t'));
    const control = this.control.subarray(
      i * CONTROL_BYTES,
      i * CONTROL_BYTES + Math.min(controlLength, CONTROL_BYTES),
    );
    const source = decodeAddress(this.names.subarray(i * ADDRESS_BYTES, (i + 1) * ADDRESS_BYTES));
    const wish =
      source?.ip.length === 4
        ? { level: SOL_IP, type: IP_RECVORIGDSTADDR }
        : { level: SOL_IPV6, type: IPV6_RECVORIGDSTADDR };
    return { length, source, destination: addressInControl(control, wish, { sizeBytes }) };
  }
}

function layoutOf(koffi: Koffi) {
  const part = koffi.struct({ base: 'void *', length: 'size_t' });
  const message = koffi.struct({
    ...{ name: 'void *', nameLength: 'uint32', parts: 'void *', partCount: 'size_t' },
    ...{ control: 'void *', controlLength: 'size_t', flags: 'int' },
  });
  const header = koffi.struct({ message, length: 'uint32' });
  return {
    ...{ part, header, partBytes: koffi.sizeof(part), headerBytes: koffi.sizeof(header) },
    lengthAt: koffi.offsetof(header, 'length'),
    controlLengthAt: koffi.offsetof(message, 'controlLength'),
    sizeBytes: koffi.sizeof('size_t'),
  };
}
