/** Which cluster a relay belongs to, and how its NATS servers are reached. Loads nothing of it. */
export interface ClusterPlace {
  /** `nats://HOST:PORT` or `tls://…`, perhaps with a login; several may stand in one text, separated by commas. */
  readonly servers: readonly string[];
  /** Several clusters may use the same NATS servers under different names. Default: `wstun`. */
  readonly name?: string;
  /** By which exits and other relays reach this very relay. Default: the first URL of its invites. */
  readonly url?: string;
  /** A file as `nsc generate creds` writes it. */
  readonly credsFile?: string;
  /** PEM certificates of the authority of the NATS servers. Default: the well-known authorities. */
  readonly caFile?: string;
  /** Copies of each bucket, 1 to 5. Default: 3, or 1 where there are fewer servers. */
  readonly replicas?: number;
}
