/**
 * One of very many WebSocket clients of `shootout-server.ts`, directly or through a SOCKS5 proxy. As cheap as Node
 * allows: all read into one buffer, and a frame is looked at where it lies.
 */
import { connect, type Socket } from 'node:net';

const READ_BUFFER = Buffer.allocUnsafeSlow(64 * 1024);
const OPEN_LIMIT_MS = 20_000;
const END_OF_HEAD = '\r\n\r\n';
const TEXT = 0x81;
const MASKED = 0x80;
const TWO_BYTES = 126;

export interface ClientPlace {
  /** Port of a proxy on 127.0.0.1; 0: none. */
  readonly via: number;
  readonly target: number;
  /** Address of this machine: one alone has not enough ports. */
  readonly source: string;
}

type Phase = 'greeting' | 'asking' | 'upgrading' | 'open' | 'over';

export class ShootoutClient {
  /** Resolves when the WebSocket is open. */
  readonly opened: Promise<void>;
  private readonly socket: Socket;
  private phase: Phase;
  private partial: Buffer | undefined;
  private resolve = (): void => {};
  private reject = (_error: Error): void => {};

  /** @param onText what lies between `start` and `end` of the bytes is one message, valid during the call */
  constructor(
    private readonly place: ClientPlace,
    private readonly onText: (client: ShootoutClient, bytes: Buffer, start: number, end: number) => void,
  ) {
    this.opened = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    const { via, target, source } = place;
    this.phase = via === 0 ? 'upgrading' : 'greeting';
    this.socket = connect({
      ...{ host: '127.0.0.1', port: via === 0 ? target : via, localAddress: source, noDelay: true },
      onread: { buffer: READ_BUFFER, callback: (bytes) => this.read(bytes) },
    });
    this.socket.on('error', ({ message }) => this.fail(message));
    this.socket.on('close', () => this.fail('closed'));
    this.socket.setTimeout(OPEN_LIMIT_MS, () => this.fail('too late'));
    if (via === 0) this.upgrade();
    else this.socket.write(Buffer.of(5, 1, 0));
  }

  /** @param frame of `textFrame` */
  send(frame: Buffer): void {
    this.socket.write(frame);
  }

  end(): void {
    this.phase = 'over';
    this.socket.resetAndDestroy();
  }

  private fail(why: string): void {
    this.reject(new Error(why));
    if (this.phase === 'open') process.stderr.write(`a client of the shootout was lost: ${why}\n`);
    this.phase = 'over';
    this.socket.destroy();
  }

  private upgrade(): void {
    this.phase = 'upgrading';
    const head = [
      'GET / HTTP/1.1',
      `Host: 127.0.0.1:${this.place.target}`,
      'Connection: Upgrade',
      'Upgrade: websocket',
    ];
    const webSocket = ['Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: d3N0dW4gYmVuY2htYXJrIQ=='];
    this.socket.write(`${[...head, ...webSocket].join('\r\n')}${END_OF_HEAD}`, 'latin1');
  }

  private read(bytes: number): boolean {
    const chunk = READ_BUFFER.subarray(0, bytes);
    const whole = this.partial === undefined ? chunk : Buffer.concat([this.partial, chunk]);
    this.partial = undefined;
    const at = this.phase === 'open' ? this.readFrames(whole, 0) : this.readOpening(whole);
    if (at < whole.length) this.partial = Buffer.from(whole.subarray(at));
    return true;
  }

  /** What comes before the frames, one answer at a time. Returns what was read. */
  private readOpening(bytes: Buffer): number {
    if (this.phase === 'greeting' && bytes.length === 2) {
      const { target } = this.place;
      this.phase = 'asking';
      this.socket.write(Buffer.of(5, 1, 0, 1, 127, 0, 0, 1, target >> 8, target & 0xff));
      return 2;
    }
    // The reply of a proxy has an IPv4 or an IPv6 address.
    if (this.phase === 'asking' && (bytes.length === 10 || bytes.length === 22)) {
      if (bytes[1] !== 0) this.fail(`SOCKS reply ${bytes[1]}`);
      else this.upgrade();
      return bytes.length;
    }
    const end = this.phase === 'upgrading' ? bytes.indexOf(END_OF_HEAD) : -1;
    if (end < 0) return 0;
    if (bytes.toString('latin1', 9, 12) !== '101') this.fail(bytes.toString('latin1', 0, 12));
    else this.open();
    return end + END_OF_HEAD.length;
  }

  private open(): void {
    this.phase = 'open';
    this.socket.setTimeout(0);
    this.resolve();
  }

  private readFrames(bytes: Buffer, start: number): number {
    let at = start;
    while (bytes.length - at >= 4) {
      const short = bytes[at + 1] ?? 0;
      const header = short === TWO_BYTES ? 4 : 2;
      const end = at + header + (short === TWO_BYTES ? bytes.readUInt16BE(at + 2) : short);
      if (bytes[at] !== TEXT || short > TWO_BYTES) this.fail('a frame that the server does not send');
      if (this.phase !== 'open') return bytes.length;
      if (end > bytes.length) break;
      this.onText(this, bytes, at + header, end);
      at = end;
    }
    return at;
  }
}

/** One frame with a mask of zeros. */
export function textFrame(text: string): Buffer {
  const content = Buffer.from(text);
  const { length } = content;
  const head = length < TWO_BYTES ? [MASKED | length] : [MASKED | TWO_BYTES, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.of(TEXT, ...head, 0, 0, 0, 0), content]);
}
