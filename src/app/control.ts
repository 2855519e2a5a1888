/** The control socket of a client, a relay or an exit: what it answers, and where it is. */

import { type Control, openControl } from '../control/ask.ts';
import { type ControlPlace, type ControlRole, listControls, newControlPath } from '../control/places.ts';
import { type Answer, type ControlServer, startControlServer } from '../control/server.ts';
import { WstunError } from '../errors.ts';
import type { HostPort } from '../net/host-port.ts';
import type { Logger } from '../observability/logger.ts';
import type { Client } from './client.ts';
import type { ClientStatus, Status } from './status.ts';

interface Controlled {
  readonly role: ControlRole;
  /** The state directory. */
  readonly state: string;
  readonly logger: Logger;
  status(): Status | Promise<Status>;
  /** Other requests, by name. */
  readonly answers?: Readonly<Record<string, Answer>>;
}

export interface OpenControl {
  close(): Promise<void>;
}

/**
 * Begins to listen, without making its caller wait: a failure is logged, and nothing else follows from it. Sockets of
 * processes that have died are removed.
 */
export function serveControl({ role, state, logger, status, answers }: Controlled): OpenControl {
  const started = start().catch((error: unknown) => {
    const why = error instanceof WstunError ? error.message : String(error);
    logger.warn({ why }, `"wstun status" cannot find this ${role}, because its control socket cannot be opened`);
  });
  async function start(): Promise<ControlServer> {
    const path = await newControlPath(state, role);
    const server = await startControlServer({ path, answers: { ...answers, status } });
    logger.debug({ path }, 'the control socket is open');
    return server;
  }
  void started.then(() => removeDead(state));
  return {
    close: async () => {
      await (await started)?.close();
    },
  };
}

async function removeDead(state: string): Promise<void> {
  const places = await listControls(state).catch(() => []);
  for (const place of places.filter(({ pid }) => pid !== process.pid)) {
    const control = await openControl(place).catch(() => undefined);
    control?.close();
  }
}

export type { Control };

/**
 * Connections to all that run with one of these directories. One that cannot be asked, such as another user's, hides no
 * other. @throws WstunError state-unusable; control-failed where none can be asked
 */
export async function findRunning(states: readonly string[]): Promise<readonly Control[]> {
  const places = (await Promise.all(states.map((state) => listControls(state)))).flat();
  const opened = await Promise.allSettled(places.map((place) => openControl(place)));
  const found = opened.flatMap((each) => (each.status === 'fulfilled' && each.value !== undefined ? [each.value] : []));
  const failed = opened.find((each) => each.status === 'rejected');
  if (found.length === 0 && failed !== undefined) throw failed.reason;
  return found;
}

/** What the clients with this state directory say of themselves. Who does not answer is left out. Never rejects. */
export async function askClients(state: string): Promise<readonly ClientStatus[]> {
  const places = await listControls(state).catch(() => []);
  const answers = await Promise.all(places.filter(({ role }) => role === 'client').map(askClient));
  return answers.filter((status) => status !== undefined);
}

async function askClient(place: ControlPlace): Promise<ClientStatus | undefined> {
  let control: Control | undefined;
  try {
    control = await openControl(place);
    if (control === undefined) return undefined;
    const status = statusIn(await control.ask({ request: 'status' }));
    return status.role === 'client' ? status : undefined;
  } catch (error) {
    if (!(error instanceof WstunError)) throw error;
    return undefined;
  } finally {
    control?.close();
  }
}

/** What one of them answers to `status`. @throws WstunError control-failed */
export function statusIn(data: Readonly<Record<string, unknown>>): Status {
  const isKnown = data.role === 'client' || data.role === 'relay' || data.role === 'exit';
  const hasParts = data.role === 'client' ? Array.isArray(data.streams) : Array.isArray(data.peers);
  if (!isKnown || !hasParts) throw new WstunError('control-failed', 'its answer is not one of this version');
  return data as unknown as Status;
}

/** The answers of a client. */
export function clientAnswers(client: Pick<Client, 'ping'>): Readonly<Record<string, Answer>> {
  return {
    ping: (target, signal) => client.ping(target === undefined ? undefined : placeIn(target), signal),
  };
}

/** @throws WstunError bad-address */
function placeIn(text: string): HostPort {
  const [, bracketed, plain, port] = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]\s]+)):(\d{1,5})$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  if (host === undefined) throw new WstunError('bad-address', text.slice(0, 300), { fix: 'Write HOST:PORT.' });
  return { host, port: Number(port) };
}
