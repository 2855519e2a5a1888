/**
 * Where the sessions of one exit are, if several processes serve it: each session is in one of them, and its links may
 * come to any. Says which, and passes links on; knows nothing of what a session does.
 */
import type { MessageLink } from '../../transport/message-link.ts';

/** `here`, `too-many-sessions`, or the name of another process. */
export type SessionPlace = string;

/** What the process that has the session is told of a link whose keys are agreed on. */
export interface PassedSession {
  readonly peer: string;
  /** The session key of the link's client, hex. */
  readonly sessionKey: string;
  /** As of SessionRequest; the id in hex. */
  readonly request: { readonly kind: 'begin' | 'resume' | 'join'; readonly id: string; readonly received: number };
}

/** What this process does for the others. */
export interface SessionPlacesHandler {
  /** Takes a link. Its handler is to be set in that turn. */
  handlePassed(session: PassedSession, link: MessageLink): void;
  /** Ends a session of that peer that has no link. False: there is none. */
  makeRoom(peer: string): boolean;
}

export interface SessionPlaces {
  setSessionHandler(handler: SessionPlacesHandler): void;
  /**
   * May a session of that peer begin, and here? With `together`, all of the peer's are in one process, because what
   * they have in common is there. Never rejects.
   */
  place(
    session: string,
    peer: string,
    limits: { readonly most: number; readonly together: boolean },
  ): Promise<SessionPlace>;
  /** The other process that has it. Never rejects. */
  find(session: string): Promise<SessionPlace | undefined>;
  /** A session that was placed here is over. */
  handleOver(session: string): void;
  /** Takes the link's handler. */
  passSession(place: SessionPlace, session: PassedSession, link: MessageLink): void;
}
