/**
 * A way through one proxy: connects to it, asks it for a tunnel, and answers its challenges. Tunnels of the same proxy
 * share what is known of its addresses and of its answers to credentials.
 */
import { randomBytes } from 'node:crypto';
import { type Socket, connect as tcpConnect } from 'node:net';
import { AbortableWait } from '../../async/abortable.ts';
import { WstunError } from '../../errors.ts';
import { formatHostPort, type HostPort } from '../../net/host-port.ts';
import { faultOfAddress, localAddressFor } from '../connection/reach.ts';
import { RelayAddresses } from '../connection/relay-addresses.ts';
import { dialFault, reasonOf } from '../connection/relay-dial-faults.ts';
import { certificateFaultOf, RelayTls } from '../connection/relay-tls.ts';
import { addressesOf, dialTcp, type Lookup, placeOf, TcpFault } from '../connection/tcp-dial.ts';
import type { Via, ViaOptions } from '../connection/via.ts';
import { runAuthenticationCommand } from './authentication-command.ts';
import { type ConnectAnswer, fieldValues } from './connect-answer.ts';
import { askForTunnel, type ConnectRequest } from './connect-exchange.ts';
import { type AuthenticationStep, ProxyAuthentication } from './proxy-authentication.ts';
import type { ProxyCredentials } from './proxy-credentials.ts';
import { answerFault, credentialsNeeded, type ProxyPlace, statusFault, wrongPassword } from './proxy-faults.ts';
import { describeProxy, type ProxyAddress } from './proxy-url.ts';
import { isForSocks4, openSocksTunnel } from './socks-tunnel.ts';
import { WrongPasswords } from './wrong-passwords.ts';

/** For the proxy's name and TCP to it together, ms; and for TLS to it. */
const REACH_LIMIT_MS = 5_000;
/** For a whole tunnel, ms: several answers, a command. */
const TUNNEL_LIMIT_MS = 30_000;
/** Requests for one tunnel: no scheme has so many legs. */
const MAX_REQUESTS = 8;
/** Of a name that is resolved here, so many addresses are asked for one after another. */
const MAX_ADDRESSES = 3;
const KEEP_ALIVE_MS = 30_000;

/** What is sent to a proxy that asks who is there. */
export interface ProxyAuthSource {
  /** Asked at each tunnel. Undefined: there are none. @throws WstunError */
  readonly credentials: () => Promise<ProxyCredentials | undefined>;
  readonly command?: string | undefined;
}

interface Attempt {
  readonly target: HostPort;
  readonly options: ViaOptions;
  readonly credentials: ProxyCredentials | undefined;
}

export class ProxyVia implements Via {
  readonly name: string;
  private readonly known = new RelayAddresses();
  private readonly wrong = new WrongPasswords();
  /** Credentials that it has accepted by Digest or NTLM: whoever poses as it later must not get them by Basic. */
  private proved: string | undefined;
  /** While credentials are tried that are not proven, others wait: each failure counts at the proxy. */
  private proving: Promise<unknown> | undefined;

  /** @param lookup for tests; default: the system's resolver. @param tls to a proxy that has TLS of its own */
  constructor(
    private readonly proxy: ProxyAddress,
    private readonly auth: ProxyAuthSource,
    private readonly lookup?: Lookup,
    private readonly tls = new RelayTls(),
  ) {
    this.name = describeProxy(proxy);
  }

  /** It rejects what it was last sent: changed credentials should be tried at once. */
  get hasWrongPassword(): boolean {
    return this.wrong.isLocked;
  }

  async connect(target: HostPort, options: ViaOptions): Promise<Socket> {
    const stop = new AbortController();
    const wait = new AbortableWait<Socket>({
      ...{ clock: options.clock, signal: options.signal, limitMs: TUNNEL_LIMIT_MS },
      onExpired: (expired) => expired.reject(new WstunError('proxy-slow', `${this.name}: no tunnel within 30 s`)),
      onSettled: () => stop.abort(),
    });
    if (wait.isOver) return wait.promise;
    this.connectInTurn(target, { ...options, signal: stop.signal }).then(
      (socket) => (wait.isOver ? socket.destroy() : wait.resolve(socket)),
      (error: unknown) => wait.reject(error),
    );
    return await wait.promise;
  }

  private async connectInTurn(target: HostPort, options: ViaOptions): Promise<Socket> {
    for (;;) {
      const credentials = await this.auth.credentials();
      const print = credentials?.fingerprint;
      if (print !== undefined) this.refuseWrong(print, target, options);
      const attempt = { target, options, credentials };
      if (print === undefined || this.wrong.isProven(print)) return await this.open(attempt);
      if (this.proving === undefined) return await this.prove(attempt);
      // Whoever waits is cancelled with its tunnel; an attempt has a limit.
      await this.proving;
      if (options.signal.aborted) throw new WstunError('dial-cancelled');
    }
  }

  private async prove(attempt: Attempt): Promise<Socket> {
    const opened = this.open(attempt);
    this.proving = opened.catch(() => {});
    try {
      return await opened;
    } finally {
      this.proving = undefined;
    }
  }

  private refuseWrong(print: string, target: HostPort, { clock }: ViaOptions): void {
    const waitMs = this.wrong.waitMs(print, clock.now());
    if (waitMs > 0) throw wrongPassword(this.placeOf(target), waitMs);
  }

  private placeOf(target: HostPort): ProxyPlace {
    return { proxy: this.name, target };
  }

  private async open(attempt: Attempt): Promise<Socket> {
    const { kind } = this.proxy;
    if (kind === 'http' || kind === 'https') return await this.openByConnect(attempt);
    if (kind === 'socks4a' || kind === 'socks5h') return await this.openBySocks(attempt, attempt.target);
    return await this.openResolved(attempt);
  }

  // ── HTTP ───────────────────────────────────────────────────────────────────────────────────────────────────────────

  private async openByConnect(attempt: Attempt): Promise<Socket> {
    const { target, options, credentials } = attempt;
    const authority = formatHostPort(target);
    const authentication = new ProxyAuthentication({
      ...{ credentials, hasCommand: this.auth.command !== undefined, uri: authority },
      mayBasic: this.proxy.kind === 'https' || credentials === undefined || this.proved !== credentials.fingerprint,
      ...{ random: randomBytes, time: () => options.clock.wallTime() },
    });
    let socket: Socket | undefined;
    let authorization: string | undefined;
    let isBound = false;
    try {
      for (let request = 0; request < MAX_REQUESTS; request++) {
        const mayBeClosed = socket !== undefined && !isBound;
        socket ??= await this.reach(options);
        const answer = await this.ask(socket, { authority, authorization, mayBeClosed }, attempt);
        if (answer === 'closed') {
          socket.destroy();
          socket = undefined;
          continue;
        }
        if (answer.status < 300) return this.handOver(socket, answer, authentication, credentials);
        if (answer.status !== 407) throw this.refusal(answer.status, authentication, attempt);
        const step = authentication.handleChallenges(fieldValues(answer.fields, 'proxy-authenticate'));
        if (step.kind === 'answer' && step.sameConnection && !answer.isReusable)
          throw new WstunError('proxy-odd-answer', `${this.name}: it closes the connection in the middle of NTLM`);
        isBound = step.kind === 'answer' && step.sameConnection;
        authorization = await this.follow(step, attempt);
        if (!answer.isReusable) {
          socket.destroy();
          socket = undefined;
        }
      }
      throw new WstunError('proxy-odd-answer', `${this.name}: it asks for credentials again and again`);
    } catch (error) {
      socket?.destroy();
      throw error;
    }
  }

  /** `closed`: some proxies close a connection after 407 although they said that they keep it (RFC 9112 §9.3.1). */
  private async ask(
    socket: Socket,
    request: ConnectRequest & { readonly mayBeClosed: boolean },
    { target, options }: Attempt,
  ): Promise<ConnectAnswer | 'closed'> {
    const result = await askForTunnel(socket, request, { ...options, proxy: this.name });
    if (request.mayBeClosed && 'fault' in result && result.fault === 'cut-short') return 'closed';
    if ('fault' in result) throw answerFault(result.fault, this.placeOf(target));
    return result.answer;
  }

  private handOver(
    socket: Socket,
    { rest }: ConnectAnswer,
    authentication: ProxyAuthentication,
    credentials: ProxyCredentials | undefined,
  ): Socket {
    // Also where the proxy did not ask for them: nobody needs to wait for whether they are right.
    if (credentials !== undefined) this.wrong.handleAccepted(credentials.fingerprint);
    if (authentication.hasSentProof) this.proved = credentials?.fingerprint;
    if (rest.length > 0) socket.unshift(rest);
    return neitherPausedNorFlowing(socket);
  }

  /** A proxy that gives another refusal has accepted the credentials. */
  private refusal(status: number, authentication: ProxyAuthentication, { target, credentials }: Attempt): WstunError {
    if (credentials !== undefined && authentication.hasSentCredentials && status !== 401)
      this.wrong.handleAccepted(credentials.fingerprint);
    return statusFault(status, this.placeOf(target));
  }

  /** The value of Proxy-Authorization for the next request. */
  private async follow(step: AuthenticationStep, attempt: Attempt): Promise<string> {
    const { target, options, credentials } = attempt;
    switch (step.kind) {
      case 'answer':
        return step.header;
      case 'ask-command': {
        const { command = '' } = this.auth;
        const { challenge } = step;
        return await runAuthenticationCommand({ command, challenge, proxy: this.proxy, ...options });
      }
      case 'cannot':
        throw credentialsNeeded(this.placeOf(target), step.schemes, { credentials: credentials !== undefined });
      case 'weaker':
        throw new WstunError(
          'proxy-odd-answer',
          `${this.name}: it asks for the password by Basic, and did not before`,
          {
            fix: 'Something else may answer in its place. If the proxy was changed, start wstun again.',
          },
        );
      case 'rejected':
        throw this.rejected(step.scheme, attempt);
      default:
        return step satisfies never;
    }
  }

  private rejected(scheme: string, { target, options, credentials }: Attempt): WstunError {
    if (scheme === 'command' || credentials === undefined)
      return new WstunError(
        'proxy-wrong-password',
        `${this.name}: what --proxy-auth-command printed was not accepted`,
        {
          fix: 'Run the command by hand: it must print the value of Proxy-Authorization for $WSTUN_PROXY_SCHEME.',
        },
      );
    this.wrong.handleRejected(credentials.fingerprint, options.clock.now());
    return wrongPassword(this.placeOf(target), this.wrong.waitMs(credentials.fingerprint, options.clock.now()));
  }

  // ── SOCKS ──────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** The name is resolved here. */
  private async openResolved(attempt: Attempt): Promise<Socket> {
    const { target, options } = attempt;
    const all = await addressesOf(target.host, this.lookup ?? options.reach.lookup).catch(
      (error: { readonly code?: string }) => {
        throw new WstunError('relay-unreachable', `${formatHostPort(target)}: ${reasonOf(error.code ?? '')}`, {
          fix: 'Let the proxy resolve the name: socks5h:// or socks4a://.',
        });
      },
    );
    const usable = this.proxy.kind === 'socks4' ? all.filter(isForSocks4) : all;
    let fault = new WstunError('proxy-cannot-connect', `${this.name}: ${formatHostPort(target)} has no address for it`);
    for (const host of usable.slice(0, MAX_ADDRESSES)) {
      try {
        return await this.openBySocks(attempt, { ...target, host });
      } catch (error) {
        if (!(error instanceof WstunError) || error.fault !== 'proxy-cannot-connect') throw error;
        fault = error;
      }
    }
    throw fault;
  }

  private async openBySocks({ options, credentials }: Attempt, target: HostPort): Promise<Socket> {
    if (credentials !== undefined && !credentials.fitsSocks)
      throw new WstunError('bad-proxy', `${this.name}: SOCKS allows 255 bytes for a user name, and for a password`);
    const socket = await this.reach(options);
    const version = this.proxy.kind.startsWith('socks4') ? 4 : 5;
    try {
      await openSocksTunnel(socket, { version, target, credentials, place: this.placeOf(target) }, options);
      if (credentials !== undefined) this.wrong.handleAccepted(credentials.fingerprint);
      return neitherPausedNorFlowing(socket);
    } catch (error) {
      socket.destroy();
      const isWrong = error instanceof WstunError && error.fault === 'proxy-wrong-password';
      // SOCKS 5 asks for the target after the password: a target that hangs must not keep all others waiting.
      const isOfTarget = error instanceof WstunError && error.fault === 'proxy-cannot-connect';
      if (isOfTarget && version === 5 && credentials !== undefined) this.wrong.handleAccepted(credentials.fingerprint);
      throw isWrong ? this.rejected('socks', { target, options, credentials }) : error;
    }
  }

  // ── the proxy itself ───────────────────────────────────────────────────────────────────────────────────────────────

  /** TCP to the proxy, and TLS where it has it. @throws WstunError proxy-unreachable, proxy-untrusted … */
  private async reach(options: ViaOptions): Promise<Socket> {
    const { host, port, kind } = this.proxy;
    const { signal, clock, reach, allowHalfOpen = false } = options;
    const place = placeOf({ host, port });
    const { socket, address } = await dialTcp({
      ...{ host, port, signal, limitMs: REACH_LIMIT_MS, known: this.known, clock, prefer: reach.prefer },
      faultOfAddress: (to) => faultOfAddress(to, reach),
      beforeConnect: reach.beforeConnect,
      connect: (to) => {
        const localAddress = localAddressFor(to, reach);
        const from = localAddress === undefined ? {} : { localAddress };
        return tcpConnect({ host: to, port, allowHalfOpen, ...from })
          .setNoDelay(true)
          .setKeepAlive(true, KEEP_ALIVE_MS);
      },
      lookup: this.lookup ?? reach.lookup,
    }).catch((error: unknown) => {
      throw error instanceof TcpFault ? this.unreachable(error) : error;
    });
    try {
      const reached = kind === 'https' ? await this.startTls(socket, options) : socket;
      this.known.handleWorked(place, address);
      return reached;
    } catch (error) {
      this.known.handleFailed(place, address);
      socket.destroy();
      throw error;
    }
  }

  private unreachable(error: TcpFault): WstunError {
    const { fault, detail } = dialFault(error, { where: this.name, connected: false });
    return new WstunError(fault === 'out-of-descriptors' ? fault : 'proxy-unreachable', detail);
  }

  private async startTls(under: Socket, { signal, clock }: ViaOptions): Promise<Socket> {
    const { host, port } = this.proxy;
    const options = { socket: under, ALPNProtocols: ['http/1.1'] };
    const socket = this.tls.connect(options, { host, port, where: this.name }, clock);
    const wait = new AbortableWait<void>({
      ...{ clock, signal, limitMs: REACH_LIMIT_MS },
      onExpired: (expired) => expired.reject(new WstunError('proxy-slow', `${this.name}: TLS took longer than 5 s`)),
    });
    socket.on('error', (error: NodeJS.ErrnoException) => wait.reject(this.tlsFault(socket, error)));
    socket.once('secureConnect', () => {
      if (certificateFaultOf(socket) === undefined) wait.resolve();
    });
    socket.once('close', () => wait.reject(this.tlsFault(socket, { code: 'ECONNRESET' })));
    await wait.promise;
    return socket;
  }

  private tlsFault(socket: Socket, error: { readonly code?: string | undefined }): WstunError {
    const untrusted = certificateFaultOf(socket);
    if (untrusted !== undefined) return new WstunError('proxy-untrusted', untrusted.detail);
    const { detail } = dialFault(error, { where: this.name, connected: true });
    return new WstunError('proxy-odd-answer', detail);
  }
}

/** As a socket that was never read: its next reader may listen to `data`, or be TLS. */
function neitherPausedNorFlowing(socket: Socket): Socket {
  const none = (): void => {};
  // Node's streams return to that state when the last listener to `readable` goes, and on no other way.
  return socket.on('readable', none).off('readable', none);
}
