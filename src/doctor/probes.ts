/** What an examination asks of the world. `app/doctor.ts` has the real one, of the parts that a client consists of. */
import type { WstunError } from '../errors.ts';
import type { HostPort } from '../net/host-port.ts';
import type { Via } from '../transport/connection/via.ts';
import type { CarrierName, Route } from '../tunnel/routes/route.ts';

/** What the environment says of proxies. No text holds credentials. */
export interface EnvironmentFacts {
  /** Variables that are read for this relay, as `https_proxy=http://proxy:3128`. */
  readonly used: readonly string[];
  /** Variables that name a proxy and are not used for this relay, by their names. */
  readonly unused: readonly string[];
  /** NO_PROXY names the relay. */
  readonly isExcepted: boolean;
  /** Something listens where px and cntlm do. */
  readonly localProxy: string | undefined;
}

export type ListenFacts = 'free' | 'wstun';

/** What one name server says. */
export interface ServerAnswer {
  /** Its address. */
  readonly server: string;
  readonly addresses: readonly string[];
  /** `silent`: no answer in time; `unknown`: there is no such name; `failed`: anything else. */
  readonly fault?: 'silent' | 'unknown' | 'failed';
}

export interface NameFacts {
  readonly host: string;
  /** What programs get, from the hosts file or from name servers. */
  readonly addresses: readonly string[];
  /** Why they get none, as a code of Node. */
  readonly code?: string;
  readonly servers: readonly ServerAnswer[];
  /** Where the relay was reached last. */
  readonly lastGood: string | undefined;
}

export interface TlsFacts {
  readonly issuer: string;
  /** Ms since 1970; NaN: unknown. */
  readonly validTo: number;
  /** It is accepted for its key, whoever issued it. */
  readonly isPinned: boolean;
  /** A product that inspects TLS, by the name of its authority. */
  readonly inspector: string | undefined;
}

/** How far a link has come. */
export type LinkStage = 'opened' | 'secured' | 'established';

/** What is downloaded, if anything can be. */
export interface Target extends HostPort {
  /** It was not chosen by the user. */
  readonly isUsual: boolean;
  readonly download?: { readonly tls: boolean; readonly path: string } | undefined;
}

export interface Downloaded {
  readonly bytes: number;
  /** From the first byte to the last one. */
  readonly ms: number;
}

/** A session like that of a client. */
export interface OpenSession {
  /** Opens a stream there, and closes it. @throws WstunError of the exit's dial */
  open(target: HostPort, signal: AbortSignal): Promise<void>;
  /** For so long at most, ms. @throws WstunError */
  download(target: Target, forMs: number, signal: AbortSignal): Promise<Downloaded>;
  /** Resolves after so many ms, or sooner with when the link was lost. */
  idle(forMs: number, signal: AbortSignal): Promise<{ readonly lostAfterMs?: number }>;
  close(): Promise<void>;
}

export interface Probes {
  /** The URLs of the relays, in the order in which a client tries them. */
  readonly relays: readonly string[];
  readonly carriers: readonly CarrierName[];
  /** Of the relay's, so far: what is added to this machine's clock, ms. */
  readonly clockCorrectionMs: number;
  environment(relay: string, signal: AbortSignal): Promise<EnvironmentFacts>;
  /** Whether the port of the proxy can be used. @throws WstunError cannot-listen */
  listen(signal: AbortSignal): Promise<ListenFacts>;
  /** Undefined where there is nothing to resolve. */
  names(relay: string, signal: AbortSignal): Promise<NameFacts | undefined>;
  /** The proxies to try, and undefined for the direct way. @throws WstunError bad-proxy, pac-unusable */
  paths(relay: string): Promise<readonly (Via | undefined)[]>;
  /** TCP, directly or through a proxy, and TLS where the URL has it. @throws WstunError as a dial */
  connect(
    relay: string,
    proxy: Via | undefined,
    signal: AbortSignal,
    onConnected: () => void,
  ): Promise<TlsFacts | undefined>;
  /** One link and a session on it, by one route. @throws WstunError as a dial */
  open(relay: string, route: Route, signal: AbortSignal, onStage: (stage: LinkStage) => void): Promise<OpenSession>;
  /** The page of a network to which it leads who asks for the relay; undefined: none. */
  loginPage(relay: string, signal: AbortSignal): Promise<WstunError | undefined>;
  /** A proxy that is not used and reaches the relay, as an argument of `--proxy`; undefined: none. */
  unusedProxy(relay: string, signal: AbortSignal): Promise<string | undefined>;
  /** Whether the relay's host answers at port 443. */
  answersAt443(relay: string, signal: AbortSignal): Promise<boolean>;
}
