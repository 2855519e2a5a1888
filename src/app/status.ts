/**
 * What a running client, relay or exit says of itself: one snapshot, for the status line of a terminal, `wstun status`
 * and programs. It holds no secret: no invite, key, ticket or password. Times are in ms, `…At` by Date.now().
 */

/** The codes and sentences of docs/errors.md. */
export interface StatusFault {
  readonly code: string;
  readonly message: string;
}

/**
 * Payload of connections and datagrams, bytes, since the start; the rates, bytes/s, since the first time within the
 * last 5 s that the status was asked for, and 0 where there was none.
 */
export interface Traffic {
  readonly sent: number;
  readonly received: number;
  readonly sentPerSecond: number;
  readonly receivedPerSecond: number;
}

export interface StreamStatus {
  /** `host:port` */
  readonly target: string;
  readonly openedAt: number;
  readonly sent: number;
  readonly received: number;
}

export type ClientState =
  /** There has been no session yet. */
  | 'connecting'
  | 'connected'
  /** The session is kept without a link, and its streams wait. */
  | 'link-lost'
  /** There is no session: the last one ended. */
  | 'disconnected'
  /** It was told to close, and its last connections may finish. */
  | 'closing';

/** A port or a socket of this machine that leads to a target of the exit. */
export interface ForwardStatus {
  /** As it was given. */
  readonly forward: string;
  readonly protocol: 'tcp' | 'udp';
  /** `host:port`, or the path of a socket. */
  readonly listen: string;
  /** `host:port` */
  readonly to: string;
}

/** A port at the exit that leads to this machine. */
export interface RemoteForwardStatus {
  /** With all its parts, as it can be given again. */
  readonly forward: string;
  readonly protocol: 'tcp' | 'udp';
  /** `host:port` as this machine reaches it, or `socks`. */
  readonly to: string;
  /**
   * `opening`: there was no answer yet. `refused`, `lost`: wstun asks for it again. While the link is lost, an open one
   * stays `listening`, and connections to it wait.
   */
  readonly state: 'opening' | 'listening' | 'refused' | 'lost';
  /** While it listens: `host:port` at the exit. */
  readonly bound?: string;
  /** Why it was refused or lost. */
  readonly fault?: StatusFault;
}

/** What a client offers beside its proxy. A member is undefined where there is none of its kind. */
export interface ServicesStatus {
  readonly forwards?: readonly ForwardStatus[];
  readonly remoteForwards?: readonly RemoteForwardStatus[];
  /** `host:port` of the name server for programs. */
  readonly nameServer?: string;
}

export interface ClientStatus extends ServicesStatus {
  readonly role: 'client';
  readonly version: string;
  readonly pid: number;
  readonly startedAt: number;
  readonly state: ClientState;
  /** Since when it is in that state. */
  readonly since: number;
  /** `host:port` of the proxy. */
  readonly listen: string;
  /** The name under which its invite is kept. Undefined where it is not, and in the library. */
  readonly profile?: string;
  /** `host:port` of the relay that is used, or tried first. */
  readonly relay: string;
  /** Where targets are dialled: by the relay, or by an exit behind it, which the relay cannot read. */
  readonly exit: 'relay' | 'named';
  /** As docs/protocol.md names the carriers; `page`: a browser or a phone carries. Undefined without a link. */
  readonly route?: { readonly carrier: string; readonly proxy?: string };
  readonly links: number;
  /** Of the session's quickest link: the newest round trip, and the least. Undefined before the first answer. */
  readonly roundTripMs?: { readonly now: number; readonly min: number };
  /** The newest 1,000, the oldest of them first; `streamCount` counts all. */
  readonly streams: readonly StreamStatus[];
  readonly streamCount: number;
  /** Open ones of UDP, and ports at the exit that take datagrams. */
  readonly associations: number;
  readonly traffic: Traffic;
  /** How often a lost link was followed by another without a lost byte. */
  readonly resumes: number;
  /** How many streams ended with their session. */
  readonly streamsLost: number;
  /** Why it is not connected, and what follows. */
  readonly outage?: {
    readonly fault?: StatusFault;
    /** How often in a row an attempt failed with this fault; 0 where it is that with which the last session ended. */
    readonly failures: number;
    /** Undefined while an attempt is under way, and where none follows. */
    readonly nextAttemptAt?: number;
    /** Until when the streams wait for a link. */
    readonly heldUntil?: number;
  };
}

/** One round trip to where targets are dialled, or the time until a connection to a target was open there. */
export interface PingStatus {
  readonly ms: number;
  readonly relay: string;
  readonly exit: ClientStatus['exit'];
  readonly route?: NonNullable<ClientStatus['route']>;
}

export interface PeerStatus {
  /** The name in the access list. */
  readonly name: string;
  /** As seen by the relay; undefined at an exit, which sees only its relay. */
  readonly address?: string;
  /** Of one that a relay forwards: the named exit to which it does. */
  readonly exit?: string;
  readonly since: number;
  readonly links: number;
  /** Undefined where the relay only forwards: it cannot see them. */
  readonly streams?: number;
  /** To the peer and from it; where the relay only forwards, with what encryption adds. */
  readonly traffic: Traffic;
}

/** A relay of an exit: registered there, or why not. */
export interface RelayStatus {
  /** `host:port` */
  readonly address: string;
  readonly registeredAt?: number;
  readonly fault?: StatusFault;
  /** It is the same relay as that one, where the exit is registered: one registration is enough. */
  readonly sameAs?: string;
}

/** What a relay says of its cluster. */
export interface ClusterStatus {
  readonly name: string;
  /** This process in the cluster, 8 hex digits. */
  readonly node: string;
  /** One of the two is there. While the cluster is away, what is known of it holds. */
  readonly connectedSince?: number;
  readonly awaySince?: number;
  /** `host:port` of its NATS server. */
  readonly server?: string;
  /** Why it is away, or why a part of it does not work. */
  readonly fault?: StatusFault;
  /** This one and those that were heard within the last 16 s. */
  readonly relays: number;
}

export interface ServingStatus {
  readonly role: 'relay' | 'exit';
  readonly version: string;
  readonly pid: number;
  readonly startedAt: number;
  /** Of a relay: where it listens. Of an exit: the best relay at which it is registered, or why it is not. */
  readonly listen?: readonly string[];
  readonly relay?: RelayStatus;
  /** Of an exit: all relays, where its invite has several; in the order of the invite. */
  readonly relays?: readonly RelayStatus[];
  /** Who is on: sessions that end here, and, at a relay, those that it forwards. The oldest first, at most 1,000. */
  readonly peers: readonly PeerStatus[];
  readonly peerCount: number;
  /** That are registered at this relay. */
  readonly exits: readonly { readonly name: string; readonly since: number }[];
  /** Of a relay with `cluster`. */
  readonly cluster?: ClusterStatus;
  /** Since the start, by reason (docs/errors.md names, and those of the gate). */
  readonly refusals: Readonly<Record<string, number>>;
}

export type Status = ClientStatus | ServingStatus;
