/**
 * A UDP socket to literal addresses only: nothing here is ever looked up. What the kernel cannot take is dropped, and
 * what ICMP says of earlier datagrams is no reason to end: a WireGuard peer that restarts answers again later.
 */
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';

/** Asked of the kernel, which gives what it allows (Linux: net.core.rmem_max): bursts wait while this process works. */
const BUFFER_BYTES = 1024 * 1024;
/** Of datagrams that the kernel has not taken yet; beyond, they are dropped. */
const MAX_QUEUED_BYTES = 256 * 1024;

export type Family = 4 | 6;

export interface SocketHandler {
  /** @param sender as the system writes it, perhaps with a zone @param port of the sender */
  handleMessage(bytes: Buffer, sender: string, port: number): void;
  /** It could not be opened: nothing follows. */
  handleFailed(error: Error): void;
  /** ICMP says that an earlier datagram has reached nobody; only of a connected socket. */
  handleUnreachable?(error: Error): void;
}

export class UdpSocket {
  /** Resolves when its descriptor is free. */
  readonly closed: Promise<void>;
  private readonly socket: Socket;
  private isOpen = true;
  private isListening = false;

  /** @param isDual of family 6: it also serves IPv4, as addresses inside IPv6 */
  constructor(family: Family, handler: SocketHandler, { isDual = false } = {}) {
    const lookup = (host: string, _options: unknown, callback: (error: null, host: string, family: number) => void) =>
      callback(null, host, family);
    this.socket = createSocket({ type: family === 4 ? 'udp4' : 'udp6', ipv6Only: family === 6 && !isDual, lookup });
    this.closed = new Promise((resolve) => void this.socket.once('close', () => resolve()));
    this.socket.on('listening', () => {
      this.isListening = true;
      this.enlargeBuffers();
    });
    this.socket.on('message', (bytes: Buffer, { address, port }: RemoteInfo) =>
      handler.handleMessage(bytes, address, port),
    );
    this.socket.on('error', (error) => {
      if (!this.isOpen) return;
      if (this.isListening) handler.handleUnreachable?.(error);
      else handler.handleFailed(error);
    });
  }

  /** Where it is bound. Only when it is. */
  get bound(): { readonly address: string; readonly port: number } {
    return this.socket.address();
  }

  /** At an address of this machine, default any; port 0: any. Rejects with the system's error. */
  bind(address?: string, port = 0): Promise<void> {
    return new Promise((resolve, reject) => {
      this.socket.once('error', reject);
      this.socket.bind({ ...(address !== undefined && { address }), port, exclusive: true }, () => {
        this.socket.off('error', reject);
        resolve();
      });
    });
  }

  /** From now on it exchanges datagrams with this address alone. Rejects with the system's error. */
  connect(address: string, port: number): Promise<void> {
    return new Promise((resolve, reject) => {
      // Where it cannot even be bound, only this event says so.
      this.socket.once('error', reject);
      this.socket.connect(port, address, (error?: Error | null) => {
        this.socket.off('error', reject);
        if (error) reject(error);
        else resolve();
      });
    });
  }

  /** Binds it, if it is not bound yet. @param address undefined: it is connected */
  send(bytes: Uint8Array, address?: string, port?: number): void {
    // Nobody can be answered who has sent from port 0 (RFC 768), and Node throws.
    if (!this.isOpen || port === 0) return;
    if (this.socket.getSendQueueSize() + bytes.length > MAX_QUEUED_BYTES) return;
    if (address === undefined || port === undefined) this.socket.send(bytes);
    else this.socket.send(bytes, port, address);
  }

  close(): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    this.socket.close();
  }

  /** Other systems reject what is beyond their limit. */
  private enlargeBuffers(): void {
    for (const enlarge of [
      () => this.socket.setRecvBufferSize(BUFFER_BYTES),
      () => this.socket.setSendBufferSize(BUFFER_BYTES),
    ]) {
      try {
        enlarge();
      } catch {
        // The default is as good as it gets.
      }
    }
  }
}
