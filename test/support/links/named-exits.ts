/** NamedExits whose links are in memory. */
import { vi } from 'vitest';
import type { Peer } from '../../../src/crypto/ticket.ts';
import { silentLogger } from '../../../src/observability/logger.ts';
import { NamedExits, type NamedExitsOptions } from '../../../src/relay/named-exits.ts';
import {
  announcements,
  type ControlMessage,
  decodeControl,
  encodeControl,
  encodeNotice,
  TAKEN_FEATURE,
} from '../../../src/transport/control-messages.ts';
import type { MessageLink } from '../../../src/transport/message-link.ts';
import type { VirtualClock } from '../time/virtual-clock.ts';
import { LinkRecorder } from './link-recorder.ts';
import { memoryLinkPair } from './memory-link.ts';

export const INSTANCE = '0f'.repeat(16);
export const BUSY = Buffer.concat(encodeNotice('overloaded'));

/** The far end of a link that the gate admitted. */
export class Far extends LinkRecorder {
  readonly link: MessageLink;

  constructor(link: MessageLink) {
    super(link);
    this.link = link;
  }

  get control(): (ControlMessage | undefined)[] {
    return this.messages.map((message) => decodeControl([message])).filter((message) => message?.type !== 'ping');
  }

  get tokens(): string[] {
    return this.control.flatMap((message) => (message?.type === 'call' ? [message.token] : []));
  }

  say(message: ControlMessage): void {
    this.link.send(encodeControl(message));
  }

  announce(keys: readonly string[]): void {
    for (const message of announcements(keys)) this.say(message);
  }
}

/** Its exits and clients arrive as if the gate had admitted them; `known` has the peers whose tickets it opens. */
export function namedExits(
  clock: VirtualClock,
  limits: NamedExitsOptions['limits'] = {},
  options: Partial<NamedExitsOptions> = {},
) {
  const known = new Set<string>();
  const placeOf = (peer: Peer): string => `${peer.destination}: ${Buffer.from(peer.gateKey).toString('base64url')}`;
  const tickets = {
    add: vi.fn((peer: Peer): void => void known.add(placeOf(peer))),
    remove: (peer: Peer): void => void known.delete(placeOf(peer)),
  };
  const rendezvous = new NamedExits({ tickets, logger: silentLogger, instance: INSTANCE, limits, clock, ...options });
  const arrive = (role: 'client' | 'exit', peer: string, destination: string, features = 0, remote?: string): Far => {
    const [near, far] = memoryLinkPair();
    if (remote !== undefined) Object.defineProperty(near, 'remote', { value: remote });
    rendezvous.serve(near, { role, peer, destination, features });
    return new Far(far);
  };
  return {
    rendezvous,
    known,
    add: tickets.add,
    client: (exit: string, number = 1, features = 0) => arrive('client', `${exit}/${number}`, exit, features),
    exit: (name: string, features = TAKEN_FEATURE, remote?: string) => arrive('exit', name, '', features, remote),
    answer: (name: string, token: string) => arrive('exit', name, token),
  };
}
