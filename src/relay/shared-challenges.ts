/** Challenges of a certificate authority where several nodes have one port: its connection may come to any of them. */

/** PEM texts of the certificate that answers (TLS-ALPN-01), and of its key. */
export interface ChallengePair {
  readonly cert: string;
  readonly key: string;
}

export interface SharedChallenges {
  /** Whether this node orders the certificate. The others wait for what it stores. */
  readonly isOurs: boolean;
  /**
   * Has all other nodes answer for that name. Resolves when they do, or when the limit for that is over, with what ends
   * it. Never rejects.
   */
  open(name: string, pair: ChallengePair): Promise<() => void>;
  /** Who answers for other nodes. It hears of those that are open already. Undefined: the one of that name is over. */
  setHandler(handle: (name: string, pair: ChallengePair | undefined) => void): void;
}
