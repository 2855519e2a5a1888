/**
 * Says once, when a client's first attempt has failed, how far it came, and that `wstun doctor` finds out more. It asks
 * nobody: the error of the attempt says where it ended, and the client goes on undisturbed.
 */
import type { ClientEvents } from '../app/client.ts';
import { decodeInvite } from '../crypto/invite.ts';
import type { CheckName } from '../doctor/checks.ts';
import { reachedBefore } from '../doctor/verdict.ts';
import type { WstunError } from '../errors.ts';
import { attempt } from './attempt.ts';
import { TITLES } from './doctor-titles.ts';
import type { Output } from './output.ts';

interface Carried {
  /** Pages carry the links, and know themselves what is in their way. */
  readonly tether?: unknown;
  readonly viaBrowser?: unknown;
}

export class FirstFailure {
  private isOver: boolean;
  private readonly relay: string | undefined;

  constructor(
    private readonly output: Output,
    { tether, viaBrowser }: Carried,
    invite: string,
  ) {
    this.relay = attempt(() => decodeInvite(invite).relayUrls[0], undefined);
    this.isOver = tether !== undefined || viaBrowser !== undefined;
  }

  /** The same events, and what is said here. */
  follow(events: ClientEvents): ClientEvents {
    return {
      ...events,
      onConnected: (info) => {
        this.isOver = true;
        events.onConnected?.(info);
      },
      onFailed: (error, waitMs) => {
        events.onFailed?.(error, waitMs);
        this.tell(error);
      },
    };
  }

  private tell(error: WstunError): void {
    if (this.isOver || this.relay === undefined) return;
    this.isOver = true;
    const { works, fails } = reachedBefore(error, this.relay);
    this.output.event({ event: 'first-failure', code: error.code, works, fails });
    const said = works.length === 0 ? '' : `${listed(works)} ${works.length === 1 ? 'works' : 'work'}, `;
    this.output.say(`${said}${TITLES[fails]} fails; to find out more: wstun doctor`);
  }
}

function listed(names: readonly CheckName[]): string {
  const titles = names.map((name) => TITLES[name]);
  return titles.length < 2 ? titles.join() : `${titles.slice(0, -1).join(', ')} and ${titles.at(-1)}`;
}
