/**
 * Answers a certificate authority on the TLS port (TLS-ALPN-01, RFC 8737): while a challenge for a name is open, a
 * ClientHello with that name and `acme-tls/1` alone gets the certificate of the challenge. All other connections, and
 * all of them while no challenge is open, go to the server unread.
 */
import type { Socket } from 'node:net';
import { createSecureContext, type SecureContext, TLSSocket } from 'node:tls';
import { type Clock, systemClock } from '../clock.ts';
import { type ClientHello, readClientHello } from './client-hello.ts';
import { type Peeked, peek } from './proxies/peek.ts';

const PROTOCOL = 'acme-tls/1';
/** For a ClientHello, and for the handshake: as any request of a relay. */
const LIMIT_MS = 10_000;
/** Of a ClientHello: reads, and bytes. One that comes in more is none of an authority's, and is left to the server. */
const MAX_READS = 32;
const MAX_BYTES = 32 * 1024;

export class TlsChallenges {
  private readonly contexts = new Map<string, SecureContext>();

  constructor(private readonly clock: Clock = systemClock) {}

  /** @param pair PEM texts. @returns ends the challenge */
  add(name: string, pair: { readonly cert: string; readonly key: string }): () => void {
    const context = createSecureContext(pair);
    this.contexts.set(name, context);
    return () => {
      if (this.contexts.get(name) === context) this.contexts.delete(name);
    };
  }

  /** @param serve serves a connection that is none of a challenge, as if nothing of it had been read */
  receive(socket: Socket, serve: () => void): void {
    if (this.contexts.size === 0) return serve();
    peek(socket, {
      clock: this.clock,
      limitMs: LIMIT_MS,
      read: readHello,
      onFound: (hello) => {
        const context = hello === 'other' ? undefined : this.contextFor(hello);
        if (context === undefined) serve();
        else this.answer(socket, context);
      },
    });
  }

  private contextFor({ serverName = '', protocols }: ClientHello): SecureContext | undefined {
    return protocols.length === 1 && protocols[0] === PROTOCOL ? this.contexts.get(serverName) : undefined;
  }

  /** The handshake is the answer; nothing is sent after it (RFC 8737 §3). */
  private answer(socket: Socket, secureContext: SecureContext): void {
    const tls = new TLSSocket(socket, { isServer: true, secureContext, ALPNProtocols: [PROTOCOL] });
    const expired = this.clock.setTimeout(() => socket.destroy(), LIMIT_MS).unref();
    tls.on('error', () => socket.destroy());
    tls.on('secure', () => tls.end());
    tls.on('close', () => {
      this.clock.clearTimeout(expired);
      socket.destroy();
    });
    tls.resume();
  }
}

/** All of it is put back: a handshake begins with it. */
function readHello(bytes: Buffer, reads: number): Peeked<ClientHello | 'other'> | 'incomplete' {
  const isTooMuch = reads > MAX_READS || bytes.length > MAX_BYTES;
  const found = isTooMuch ? 'other' : readClientHello(bytes);
  return found === 'incomplete' ? found : { found, length: 0 };
}
