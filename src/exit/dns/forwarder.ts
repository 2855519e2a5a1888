/** Asks the name servers of this machine one after another, as a stub resolver does, until one has an answer. */
import { withLimit } from '../../async/abortable.ts';
import { systemClock } from '../../clock.ts';
import { RCODE, readHeader } from '../../dns/wire.ts';
import { WstunError } from '../../errors.ts';
import { exchange } from './exchange.ts';
import type { NameServer } from './name-servers.ts';

/** As many as glibc uses, and one more: each is a wait. */
const MAX_SERVERS = 4;
/** A whole look-up, ms: as of one for a dial. */
const LIMIT_MS = 5_000;
/** For an answer over UDP, ms, in the first round of all servers and in the next. */
const ROUNDS_MS = [1_000, 2_000];

export interface Question {
  /** With EDNS, and without: some servers know nothing of it (RFC 6891 §6.2.2). */
  readonly query: Uint8Array;
  readonly plain: Uint8Array;
}

type Ask = typeof exchange;

export class Forwarder {
  /** The one that answered last: one that is dead costs a second only once. */
  private preferred: NameServer | undefined;

  /** @param servers asked for each question @param ask for tests */
  constructor(
    private readonly servers: () => readonly NameServer[],
    private readonly ask: Ask = exchange,
  ) {}

  /** An answer with any code. Rejects within 5 s, with a WstunError, when there is none. */
  async resolve(question: Question, signal: AbortSignal): Promise<Uint8Array> {
    const late = () => new WstunError('dial-name-failed', 'no answer in time');
    return await withLimit({ clock: systemClock, signal, limitMs: LIMIT_MS }, late, (within) =>
      this.askInRounds(question, within),
    );
  }

  private async askInRounds(question: Question, signal: AbortSignal): Promise<Uint8Array> {
    let failure: Uint8Array | undefined;
    const left = new Set(this.inOrder());
    for (const udpMs of ROUNDS_MS) {
      for (const server of [...left]) {
        const answer = await this.askOne(question, server, signal, udpMs);
        if (signal.aborted) throw new WstunError('dial-cancelled');
        if (answer === undefined) continue;
        if (!isFailure(answer)) {
          this.preferred = server;
          return answer;
        }
        failure ??= answer;
        left.delete(server);
      }
    }
    if (failure === undefined) throw new WstunError('dial-name-failed', 'no answer');
    return failure;
  }

  /** Undefined: none came. */
  private async askOne(
    { query, plain }: Question,
    server: NameServer,
    signal: AbortSignal,
    udpMs: number,
  ): Promise<Uint8Array | undefined> {
    try {
      const answer = await this.ask({ query, server, signal, udpMs });
      const code = readHeader(answer)?.rcode;
      if (code !== RCODE.formErr && code !== RCODE.notImp) return answer;
      return await this.ask({ query: plain, server, signal, udpMs });
    } catch {
      return undefined;
    }
  }

  private inOrder(): readonly NameServer[] {
    const all = this.servers().slice(0, MAX_SERVERS);
    const isPreferred = ({ host, port }: NameServer) => host === this.preferred?.host && port === this.preferred.port;
    return [...all.filter(isPreferred), ...all.filter((server) => !isPreferred(server))];
  }
}

/** Another server may know more. */
function isFailure(answer: Uint8Array): boolean {
  const code = readHeader(answer)?.rcode;
  return code !== RCODE.noError && code !== RCODE.nxDomain;
}
