/** Connections to the server whose site a relay shows to strangers. Reads and writes nothing on them. */
import { connect, isIP, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { type Clock, systemClock } from '../../clock.ts';
import { WstunError } from '../../errors.ts';
import type { Logger } from '../../observability/logger.ts';

/** The server is near; nginx waits 60 s, which no visitor does. */
const CONNECT_MS = 10_000;
const KEEP_ALIVE_MS = 60_000;

/** `http://HOST[:PORT]` or `https://HOST[:PORT]`. */
export interface SiteAddress {
  readonly host: string;
  readonly port: number;
  readonly isTls: boolean;
}

/** @throws WstunError bad-option */
export function parseSiteUrl(text: string): SiteAddress {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isWhole = url !== undefined && url.pathname === '/' && url.search === '' && url.hash === '';
  const isHttp = url?.protocol === 'http:' || url?.protocol === 'https:';
  if (!isWhole || !isHttp || url.username !== '' || url.password !== '')
    throw new WstunError(
      'bad-option',
      '--decoy needs a directory, or the URL of a server without a path, such as http://127.0.0.1:8081',
    );
  const isTls = url.protocol === 'https:';
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  return { host, port: Number(url.port || (isTls ? 443 : 80)), isTls };
}

/** What a connection to the upstream tells its owner: one of the two, once. */
export interface Connecting {
  handleConnect(): void;
  handleFailed(): void;
}

export interface UpstreamConnection {
  /** Its errors are handled, and its 'close' says whether there was one. */
  readonly socket: Socket;
  /** Ends it before it is connected; its owner is told nothing more. */
  abandon(): void;
}

export class SiteUpstream {
  private isDown = false;

  constructor(
    private address: SiteAddress,
    private readonly logger: Logger,
    private readonly clock: Clock = systemClock,
  ) {}

  /** For connections from now on. */
  moveTo(address: SiteAddress): void {
    this.address = address;
  }

  connect(owner: Connecting): UpstreamConnection {
    const socket = this.open();
    let reason = 'closed';
    const late = this.clock.setTimeout(() => socket.destroy(new Error('timed out')), CONNECT_MS).unref();
    const fail = (): void => {
      this.clock.clearTimeout(late);
      this.noteDown(reason);
      owner.handleFailed();
    };
    socket.on('error', (error: NodeJS.ErrnoException) => {
      reason = error.code ?? error.message;
    });
    socket.once('close', fail);
    socket.once(this.address.isTls ? 'secureConnect' : 'connect', () => {
      this.clock.clearTimeout(late);
      socket.off('close', fail);
      this.noteUp();
      owner.handleConnect();
    });
    const abandon = (): void => {
      this.clock.clearTimeout(late);
      socket.off('close', fail).destroy();
    };
    return { socket, abandon };
  }

  private open(): Socket {
    const { host, port, isTls } = this.address;
    const keepAlive = { keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS };
    const options = { host, port, noDelay: true, ...keepAlive, allowHalfOpen: true };
    if (!isTls) return connect(options);
    const servername = isIP(host) === 0 ? host : '';
    return connectTls({ ...options, servername, ALPNProtocols: ['http/1.1'] });
  }

  private noteDown(reason: string): void {
    if (this.isDown) return;
    this.isDown = true;
    const { host, port } = this.address;
    this.logger.warn({ host, port, reason }, 'the site of --decoy cannot be reached; its visitors get a 502');
  }

  private noteUp(): void {
    if (!this.isDown) return;
    this.isDown = false;
    this.logger.info({}, 'the site of --decoy can be reached again');
  }
}
