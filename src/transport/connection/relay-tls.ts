/**
 * TLS to relays as the user chose it: which certificates are accepted, which one is shown, which name is said, and the
 * sessions that later links resume. Sessions are kept in here, so that none is resumed under other settings.
 */
import type { X509Certificate } from 'node:crypto';
import {
  checkServerIdentity,
  createSecureContext,
  type SecureContext,
  type TLSSocket,
  type ConnectionOptions as TlsOptions,
  connect as tlsConnect,
} from 'node:tls';
import type { Clock } from '../../clock.ts';
import type { WstunError } from '../../errors.ts';
import { familyOf } from './address-family.ts';
import {
  certificateFault,
  inspectorOf,
  issuerIn,
  type Judgement,
  otherKeyFault,
  type SeenCertificate,
} from './certificate-faults.ts';
import { trustedCertificates } from './system-certificates.ts';
import { type Pin, pinOf } from './tls-pin.ts';
import { type KeptSession, TlsSessions } from './tls-sessions.ts';

export interface RelayTlsOptions {
  /** PEM certificates to trust in addition to the usual ones. */
  readonly ca?: readonly string[] | undefined;
  /** Certificates with these keys are accepted, whatever their issuer, name and dates. */
  readonly pins?: readonly Pin[] | undefined;
  /** Not empty: only certificates with these keys are accepted, whatever their issuer, name and dates. */
  readonly onlyPins?: readonly Pin[] | undefined;
  /** Shown to a server that demands a certificate; PEM. */
  readonly identity?: { readonly cert: string; readonly key: string } | undefined;
  /** The server name that TLS sends; empty: none. Default: the host of the URL. */
  readonly sni?: string | undefined;
  /**
   * Whoever ends TLS can read the data: nothing is accepted beyond Node's own list, NODE_EXTRA_CA_CERTS and the pins,
   * and only for the host of the URL.
   */
  readonly unsealed?: boolean | undefined;
}

/** A certificate's issuers that are looked at. */
const MAX_CHAIN = 8;
/** A session is resumed for so long after its certificate was checked. */
const MAX_SESSION_MS = 86_400_000;

/** Of all who chose nothing that belongs into it: reading the certificates takes some milliseconds, and 1 MB. */
let usualContext: SecureContext | undefined;

/** Why the certificates of sockets were not accepted. */
const rejections = new WeakMap<object, WstunError>();

/** Of a certificate that was accepted. */
export interface AcceptedCertificate {
  /** In quotes. */
  readonly issuer: string;
  /** Ms since 1970. */
  readonly validTo: number;
  /** For its key alone, whoever has issued it. */
  readonly isPinned: boolean;
  /** A product that inspects TLS. */
  readonly inspector: string | undefined;
}

const accepted = new WeakMap<object, AcceptedCertificate>();

/** Undefined: none was accepted on that socket, or a session was resumed, which shows none. */
export function acceptedCertificateOf(socket: object): AcceptedCertificate | undefined {
  return accepted.get(socket);
}

/** Why the certificate of a socket was not accepted; undefined: no certificate was rejected. */
export function certificateFaultOf(socket: object): WstunError | undefined {
  return rejections.get(socket);
}

/** Where a TLS connection leads. */
export interface TlsPlace {
  /** Of the URL, without brackets. */
  readonly host: string;
  readonly port: number;
  /** For faults. */
  readonly where: string;
}

interface Following {
  /** Of `TlsSessions`. */
  readonly key: string;
  readonly place: TlsPlace;
  readonly clock: Clock;
  /** Of the session that was offered. */
  readonly resumedUntil: number;
}

export class RelayTls {
  /** They may have a private key. */
  readonly #options: RelayTlsOptions;
  private readonly sessions = new TlsSessions();
  /** Beside those of the options. */
  private learntPins: readonly Pin[] = [];
  private context: SecureContext | undefined;

  constructor(options: RelayTlsOptions = {}) {
    this.#options = options;
  }

  /** Certificates with these keys are accepted from now on, too, where the user has not demanded others. */
  learnPins(pins: readonly Pin[]): void {
    this.learntPins = pins;
  }

  /** TLS to proxies: the same authorities are trusted; pins, identity and name are those of the relay alone. */
  forProxies(): RelayTls {
    return new RelayTls({ ca: this.#options.ca });
  }

  /**
   * Starts TLS. A certificate that is not accepted destroys the socket with the reason, before anything that was
   * written to it is sent. @param options of `tls.connect`: where TCP goes, or a socket; and the protocols of ALPN
   */
  connect(options: TlsOptions, place: TlsPlace, clock: Clock): TLSSocket {
    const key = `${this.serverName(place.host)} ${place.host}:${place.port}`;
    const kept = this.sessions.take(key, clock.wallTime());
    const socket = tlsConnect({
      ...options,
      servername: this.serverName(place.host),
      secureContext: this.secureContext(),
      // `judge` does it: the reasons of Node have no names, dates and issuers.
      rejectUnauthorized: false,
      checkServerIdentity: (_host, certificate) => this.nameFault(place.host, certificate),
      ...(kept && { session: kept.session }),
    });
    // An attempt that loses the race to connect uses no session up.
    if (kept !== undefined) this.keepIfUnused(socket, key, kept);
    this.follow(socket, { key, place, clock, resumedUntil: kept?.until ?? 0 });
    return socket;
  }

  private keepIfUnused(socket: TLSSocket, key: string, kept: KeptSession): void {
    if (!socket.connecting) return;
    const putBack = (): void => this.sessions.add(key, kept);
    socket.once('close', putBack);
    socket.once('connect', () => socket.off('close', putBack));
  }

  private follow(socket: TLSSocket, { key, place, clock, resumedUntil }: Following): void {
    // Until when its sessions are resumed; 0: not accepted.
    let until = 0;
    socket.once('secureConnect', () => {
      const now = clock.wallTime();
      // Only sessions of accepted certificates are kept, and only under these settings.
      const verdict = socket.isSessionReused()
        ? { until: resumedUntil }
        : this.judge(socket, { ...place, now, unsealed: this.#options.unsealed === true });
      if ('fault' in verdict) {
        rejections.set(socket, verdict.fault);
        socket.destroy(verdict.fault);
      } else until = Math.min(verdict.until, now + MAX_SESSION_MS);
    });
    // With TLS 1.3 they come later, and each is good for one link (RFC 8446 appendix C.4).
    socket.on('session', (session: Buffer) => {
      if (until > 0) this.sessions.add(key, { session, until, isReusable: socket.getProtocol() === 'TLSv1.2' });
    });
  }

  private judge(socket: TLSSocket, judgement: Judgement): { fault: WstunError } | { until: number } {
    const { pins = [], onlyPins = [] } = this.#options;
    const certificate = socket.getPeerX509Certificate();
    const pin = certificate && pinOf(certificate);
    const good = onlyPins.length > 0 ? onlyPins : [...pins, ...this.learntPins];
    const isPinned = pin !== undefined && good.includes(pin);
    if (certificate !== undefined) accepted.set(socket, acceptedOf(certificate, isPinned));
    if (isPinned) return { until: Number.POSITIVE_INFINITY };
    const verdict = this.judgeUnpinned(socket, seen(certificate, pin), judgement);
    if ('fault' in verdict) accepted.delete(socket);
    return verdict;
  }

  private judgeUnpinned(
    socket: TLSSocket,
    certificate: SeenCertificate,
    judgement: Judgement,
  ): { fault: WstunError } | { until: number } {
    const { onlyPins = [] } = this.#options;
    if (onlyPins.length > 0) return { fault: otherKeyFault(certificate, judgement) };
    // Node has the code of OpenSSL here; the types say Error.
    const code: unknown = socket.authorizationError;
    if (code === undefined || code === null)
      return { until: certificate.validTo === '' ? 0 : Date.parse(certificate.validTo) };
    return { fault: certificateFault(String(code), certificate, judgement) };
  }

  /** A name that the user chose for SNI is one that the user expects: fronts of another name are reached like that. */
  private nameFault(host: string, certificate: Parameters<typeof checkServerIdentity>[1]): Error | undefined {
    const { sni, unsealed } = this.#options;
    const fault = checkServerIdentity(host, certificate);
    if (fault === undefined || !sni || unsealed === true) return fault;
    return checkServerIdentity(sni, certificate) === undefined ? undefined : fault;
  }

  /** An address is no server name (RFC 6066 §3). */
  private serverName(host: string): string {
    return this.#options.sni ?? (familyOf(host) === undefined ? host : '');
  }

  /** Made at the first TLS connection. */
  private secureContext(): SecureContext {
    const { ca = [], identity, unsealed = false } = this.#options;
    if (ca.length === 0 && identity === undefined && !unsealed) {
      usualContext ??= createSecureContext({ ca: [...trustedCertificates()] });
      return usualContext;
    }
    this.context ??= createSecureContext({
      ...(unsealed ? {} : { ca: [...trustedCertificates(), ...ca] }),
      ...(identity && { cert: identity.cert, key: identity.key }),
    });
    return this.context;
  }
}

/** Of a certificate and of those above it, that the server sent. */
function issuersOf(certificate: X509Certificate | undefined): readonly string[] {
  const issuers: string[] = [];
  for (let at = certificate; at !== undefined && issuers.length < MAX_CHAIN; at = at.issuerCertificate)
    issuers.push(at.issuer);
  return issuers;
}

function acceptedOf(certificate: X509Certificate, isPinned: boolean): AcceptedCertificate {
  const inspector = inspectorOf(issuersOf(certificate));
  return { issuer: issuerIn(certificate), validTo: Date.parse(certificate.validTo), isPinned, inspector };
}

function seen(certificate: X509Certificate | undefined, pin: Pin | undefined): SeenCertificate {
  const issuers = issuersOf(certificate);
  const { issuer = '', subjectAltName, validFrom = '', validTo = '' } = certificate ?? {};
  return { issuer, subjectAltName, validFrom, validTo, pin, issuers };
}
