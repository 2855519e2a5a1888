/**
 * The connection to NATS: to one of its servers, and to the next one as soon as that is lost, for ever. Each connection
 * is a new one of the library, which does not reconnect by itself: what belongs to a connection ends with it, and
 * whoever uses it begins anew with the next. Owns no subjects.
 */
import { readFile } from 'node:fs/promises';
import { sleep } from '../async/abortable.ts';
import { type Clock, systemClock } from '../clock.ts';
import { WstunError } from '../errors.ts';
import type { Logger } from '../observability/logger.ts';
import type { BusState } from './bus.ts';
import type { ConnectionOptions, NatsConnection } from './nats-library.ts';
import type { NatsServers } from './nats-urls.ts';

export type Library = typeof import('./nats-library.ts');

/** To a server: TCP, TLS and its greeting. */
const CONNECT_MS = 3_000;
/** After all servers have been tried. The random part keeps relays from coming back together. */
const RETRY_MS = 1_000;
/** A server that does not answer two in a row counts as lost: after nine seconds at most. */
const PING_MS = 3_000;
const PINGS_UNANSWERED = 2;
/** For what was published last. */
const CLOSE_MS = 1_000;

export interface NatsOptions {
  readonly servers: NatsServers;
  /** Path of a file as `nsc generate creds` writes it. It is read for each connection: a file can be replaced. */
  readonly credsFile?: string | undefined;
  /** Path of PEM certificates that the servers' are to be issued by. Default: those that Node knows. */
  readonly caFile?: string | undefined;
  /** What the servers' own monitoring shows. */
  readonly name: string;
}

export interface ConnectionEvents {
  /** It is to be used until `handleDown`. */
  handleUp(connection: NatsConnection): void;
  handleDown(): void;
}

export class NatsKeeper {
  private readonly closing = new AbortController();
  private connection: NatsConnection | undefined;
  private running: Promise<void> | undefined;
  private nextServer: number;
  private connectedSince: number | undefined;
  private awaySince: number | undefined;
  private fault: WstunError | undefined;
  private loggedFault = '';

  constructor(
    private readonly options: NatsOptions,
    private readonly library: Library,
    private readonly events: ConnectionEvents,
    private readonly logger: Logger,
    private readonly clock: Clock = systemClock,
  ) {
    this.awaySince = clock.wallTime();
    this.nextServer = Math.floor(clock.random() * options.servers.hosts.length);
  }

  get state(): BusState {
    const { connectedSince, awaySince, fault, connection } = this;
    return {
      connectedSince,
      awaySince,
      server: connection?.getServer(),
      fault,
    };
  }

  /** Begins to connect. @throws WstunError cluster-file-unusable, cluster-refused, only for what no retry mends */
  async start(): Promise<void> {
    await this.readFiles();
    this.running = this.run();
  }

  /** A part of what this connection is for does not work, such as JetStream; undefined: it does again. */
  noteFault(fault: WstunError | undefined): void {
    this.fault = fault;
    if (fault !== undefined) this.logOnce(fault);
    else this.loggedFault = '';
  }

  async close(): Promise<void> {
    this.closing.abort();
    const { connection } = this;
    if (connection !== undefined) {
      await Promise.race([connection.flush().catch(() => {}), sleep(this.clock, CLOSE_MS)]);
      await connection.close();
    }
    await this.running;
  }

  private async run(): Promise<void> {
    const { signal } = this.closing;
    const { length } = this.options.servers.hosts;
    for (let failed = 0; !signal.aborted; ) {
      const connection = await this.connectOnce();
      if (connection !== undefined) {
        failed = 0;
        await this.use(connection);
      } else if (++failed % length === 0) {
        await sleep(this.clock, RETRY_MS * (0.5 + this.clock.random()), signal);
      }
    }
  }

  private async connectOnce(): Promise<NatsConnection | undefined> {
    const { hosts } = this.options.servers;
    const host = hosts[this.nextServer % hosts.length] ?? '';
    this.nextServer += 1;
    try {
      return await this.library.connect({ ...(await this.connectOptions()), servers: [host] });
    } catch (error) {
      const fault = this.faultOf(error, host);
      this.fault = fault;
      this.logOnce(fault);
      return undefined;
    }
  }

  private async use(connection: NatsConnection): Promise<void> {
    if (this.closing.signal.aborted) return connection.close();
    this.connection = connection;
    this.connectedSince = this.clock.wallTime();
    this.awaySince = undefined;
    this.noteFault(undefined);
    this.logger.info({ server: connection.getServer() }, 'connected to the cluster');
    this.events.handleUp(connection);
    const error = await connection.closed();
    this.connection = undefined;
    this.connectedSince = undefined;
    this.awaySince = this.clock.wallTime();
    this.events.handleDown();
    if (this.closing.signal.aborted) return;
    this.fault = new WstunError('cluster-away', error === undefined ? 'the connection was lost' : error.message);
    this.logger.warn({ reason: this.fault.detail }, 'the connection to the cluster was lost; wstun connects again');
  }

  private async connectOptions(): Promise<ConnectionOptions> {
    const { servers, name } = this.options;
    const { creds, ca } = await this.readFiles();
    const { login } = servers;
    return {
      name,
      timeout: CONNECT_MS,
      reconnect: false,
      ignoreClusterUpdates: true,
      noAsyncTraces: true,
      pingInterval: PING_MS,
      maxPingOut: PINGS_UNANSWERED,
      ...((servers.tls || ca !== undefined) && { tls: { ...(ca !== undefined && { ca }) } }),
      ...(login && { user: login.user, pass: login.password }),
      ...(creds && { authenticator: this.library.credsAuthenticator(creds) }),
    };
  }

  /** @throws WstunError cluster-file-unusable */
  private async readFiles(): Promise<{ readonly creds?: Uint8Array; readonly ca?: string }> {
    const { credsFile, caFile } = this.options;
    const [creds, ca] = await Promise.all([credsFile, caFile].map((path) => path && readGiven(path)));
    return { ...(creds && { creds }), ...(ca && { ca: ca.toString('utf8') }) };
  }

  /** Texts of the library name no login. */
  private faultOf(error: unknown, host: string): WstunError {
    if (error instanceof WstunError) return error;
    const { errors } = this.library;
    const why = error instanceof Error ? error.message : String(error);
    const isRefused = error instanceof errors.AuthorizationError || /nkey|jwt|creds|credential|seed/i.test(why);
    return new WstunError(isRefused ? 'cluster-refused' : 'cluster-away', `${host}: ${why}`);
  }

  private logOnce(fault: WstunError): void {
    if (this.loggedFault === fault.message) return;
    this.loggedFault = fault.message;
    this.logger.warn({ code: fault.code }, fault.message);
  }
}

/** @throws WstunError cluster-file-unusable */
async function readGiven(path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    const { code = String(error) } = error as NodeJS.ErrnoException;
    throw new WstunError('cluster-file-unusable', `${path}: ${code}`);
  }
}
