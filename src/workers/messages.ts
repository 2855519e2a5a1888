/** What the hub and the workers of one relay tell each other over IPC. Both are of one build, so nothing is checked. */
import type { PassedUpgrade } from '../relay/other-nodes.ts';
import type { CallOutcome } from '../relay/rendezvous.ts';
import type { ChallengePair } from '../relay/shared-challenges.ts';

/** Of a worker process: two lower-case hex digits of its slot, and two that differ from those of its predecessors. */
export type WorkerId = string;

/** Where a new session goes: that worker, or `here`, where it was asked. */
export type SessionPlace = 'here' | 'too-many-sessions' | WorkerId;

/** What a worker asks of the hub, or the hub of a worker, and what the answer is. */
export interface Questions {
  /** Has the exit of that name dial back. Both ways. */
  call: { readonly ask: { readonly exit: string; readonly token: string }; readonly answer: CallOutcome };
  /** May a ticket with that nonce be used? True once. */
  claim: { readonly ask: { readonly nonce: string }; readonly answer: boolean };
  /** Where may a session of that peer begin? `most`: it may have so many. `together`: all of them in one worker. */
  place: {
    readonly ask: {
      readonly session: string;
      readonly peer: string;
      readonly most: number;
      readonly together: boolean;
    };
    readonly answer: SessionPlace;
  };
  /** Ends a session of that peer that has no link; false: there is none. Of a worker. */
  room: { readonly ask: { readonly peer: string }; readonly answer: boolean };
  /** Which worker has that session? */
  find: { readonly ask: { readonly session: string }; readonly answer: WorkerId | undefined };
  /**
   * Answers a certificate authority for that name, with that pair, from now on. Of a worker; of the hub, which asks all
   * others.
   */
  challenge: { readonly ask: { readonly name: string; readonly pair: ChallengePair }; readonly answer: true };
  /** What the worker serves. Of a worker. */
  report: { readonly ask: { readonly of: string }; readonly answer: unknown };
}

export type QuestionName = keyof Questions;

/** What happened at the public side of a worker since its last message of this kind. */
export interface Load {
  /** Links that are open. */
  readonly links: number;
  /** Of strangers, by source. */
  readonly failures: Readonly<Record<string, number>>;
  /** Sources at which a known peer has shown itself. */
  readonly cleared: readonly string[];
}

/** As PassedUpgrade; bytes in base64, an audience in hex: IPC is JSON. An exit's ticket has no keys of other links. */
export interface SentUpgrade extends Omit<PassedUpgrade, 'rest' | 'admitted'> {
  readonly rest: string;
  readonly admitted: Omit<PassedUpgrade['admitted'], 'audience'>;
  readonly audience: string | undefined;
}

export interface HttpLinkPlace {
  readonly worker: WorkerId;
  readonly key: string;
}

export interface WorkerEvent {
  readonly event: string;
  readonly [field: string]: unknown;
}

export type Note =
  /** From a worker: it hears what is said to it, and takes links of others. */
  | { readonly note: 'started' }
  /** From a worker: the control link of that exit is here, or is not here any more. To workers: at which one it is. */
  | { readonly note: 'exit'; readonly exit: string; readonly worker: WorkerId | undefined }
  /** To the worker that had the exit. */
  | { readonly note: 'replaced'; readonly exit: string }
  /** What that exit announced. */
  | { readonly note: 'keys'; readonly exit: string; readonly keys: readonly string[] }
  /** An HTTP link, by its id in hex: at which worker it is, with its key in hex, or at none any more. Both ways. */
  | { readonly note: 'http-link'; readonly id: string; readonly at: HttpLinkPlace | undefined }
  /** A connection, which comes with it, and all that is known of it. To the hub, and on to the worker. */
  | { readonly note: 'upgrade'; readonly worker: WorkerId; readonly upgrade: SentUpgrade }
  /** The challenge of that name is over. Both ways. */
  | { readonly note: 'challenge-over'; readonly name: string }
  /** From a worker: the session is over. */
  | { readonly note: 'over'; readonly session: string }
  /** From a worker: its own. To a worker: of all others together; `links` are those of now. */
  | { readonly note: 'load'; readonly load: Load }
  /** To workers: who is there. */
  | { readonly note: 'workers'; readonly workers: readonly WorkerId[] }
  /** From a worker: it serves, and what it is to be said about it. */
  | { readonly note: 'ready'; readonly ready: unknown }
  /** From a worker: what it would say to the program that reads its events, if it were alone. */
  | { readonly note: 'event'; readonly event: WorkerEvent }
  /** To a worker: end, within that time. */
  | { readonly note: 'close'; readonly graceMs: number }
  /** To a worker: read the configuration again. */
  | { readonly note: 'reload' };

export type Envelope =
  | Note
  | {
      readonly [Name in QuestionName]: {
        readonly asks: Name;
        readonly id: number;
        readonly ask: Questions[Name]['ask'];
      };
    }[QuestionName]
  | { readonly answers: number; readonly answer: unknown };
