/**
 * Gets a certificate where there is none, and renews it for as long as it runs. Whatever fails, the one before stays in
 * use, and the next attempt follows. Knows nothing of files, servers and authorities: they are functions.
 */
import { X509Certificate } from 'node:crypto';
import { sleep } from '../async/abortable.ts';
import { type Clock, systemClock } from '../clock.ts';
import { WstunError } from '../errors.ts';
import type { Logger } from '../observability/logger.ts';
import { AcmeFault } from './acme-fault.ts';
import type { Certificate } from './order.ts';
import { type Life, leastPause, pauseAfter, renewalTime } from './schedule.ts';

/** The calendar is looked at so often: it may have been set, and the machine may have slept. */
const LOOK_MS = 60 * 60_000;

export interface Stored extends Certificate {
  /** False: it is good to use, but another one is due: it has other names, or is of another authority. */
  readonly isAsWanted: boolean;
}

export interface KeeperOptions {
  /** Undefined if there is none. Read again before each order: another process may have renewed it. */
  readonly load: () => Promise<Stored | undefined>;
  /** Gets and stores one. @param attempt how many failed before in a row. Rejects when the signal fires */
  readonly order: (attempt: number, signal: AbortSignal) => Promise<Certificate>;
  readonly logger: Logger;
  readonly clock?: Clock;
}

export class CertificateKeeper {
  private readonly stopped = new AbortController();
  private running: Promise<void> | undefined;
  private used = '';
  /** Kinds that were said since the last success. */
  private readonly said = new Set<string>();
  private readonly clock: Clock;

  constructor(private readonly options: KeeperOptions) {
    this.clock = options.clock ?? systemClock;
  }

  /** What is stored. @throws WstunError state-unusable */
  async read(): Promise<Certificate | undefined> {
    const stored = await this.options.load();
    this.used = stored?.cert ?? '';
    return stored;
  }

  /** Passes each new certificate to `use`, until `stop`. */
  follow(use: (certificate: Certificate) => void): void {
    this.running ??= this.run(use);
  }

  /** Resolves when nothing is under way any more. */
  async stop(): Promise<void> {
    this.stopped.abort();
    await this.running;
  }

  private async run(use: (certificate: Certificate) => void): Promise<void> {
    const { clock } = this;
    const { signal } = this.stopped;
    let failures = 0;
    while (!signal.aborted) {
      try {
        await this.renewWhenDue(failures, use);
        failures = 0;
        this.said.clear();
      } catch (error) {
        if (signal.aborted) return;
        failures += 1;
        const pause = pauseAfter(failures, clock.random(), error instanceof AcmeFault ? error.retryAfterMs : 0);
        this.report(error, pause);
        await this.sleepUntil(clock.wallTime() + pause);
      }
    }
  }

  /** Resolves when a new certificate is in use and the next one may be ordered, or at `stop`. */
  private async renewWhenDue(failures: number, use: (certificate: Certificate) => void): Promise<void> {
    const { signal } = this.stopped;
    const { load, order } = this.options;
    const stored = await load();
    if (stored !== undefined) {
      this.use(stored, use);
      if (stored.isAsWanted) await this.sleepUntil(renewalTime(lifeOf(stored), this.clock.random()));
      if (signal.aborted) return;
      const later = await load();
      // Another process was first.
      if (later !== undefined && later.cert !== stored.cert) return;
    }
    const certificate = await order(failures, signal);
    if (signal.aborted) return;
    this.use(certificate, use);
    await sleep(this.clock, leastPause(lifeOf(certificate)), signal);
  }

  private use(certificate: Certificate, use: (certificate: Certificate) => void): void {
    if (certificate.cert === this.used) return;
    use(certificate);
    this.used = certificate.cert;
    const until = new Date(lifeOf(certificate).until).toISOString();
    this.options.logger.info({ until }, 'a new TLS certificate is in use');
  }

  private async sleepUntil(time: number): Promise<void> {
    const { clock } = this;
    const { signal } = this.stopped;
    for (let rest = time - clock.wallTime(); rest > 0 && !signal.aborted; rest = time - clock.wallTime())
      await sleep(clock, Math.min(rest, LOOK_MS), signal);
  }

  private report(error: unknown, pause: number): void {
    const { logger } = this.options;
    const fault = error instanceof WstunError ? error : new WstunError('internal', String(error));
    const fields = { code: fault.code, retryInSeconds: Math.round(pause / 1000) };
    const what = this.used === '' ? 'There is no certificate yet.' : 'The previous certificate stays in use.';
    if (this.said.has(fault.code)) return logger.debug(fields, fault.message);
    this.said.add(fault.code);
    logger.error(fields, `${fault.message} ${what}`);
  }
}

function lifeOf({ cert }: Certificate): Life {
  const { validFrom, validTo } = new X509Certificate(cert);
  return { from: Date.parse(validFrom), until: Date.parse(validTo) };
}
