/** A client of one program's own: on a free port of this machine, and connected before anybody uses it. */
import { AbortableWait } from '../async/abortable.ts';
import { type Clock, systemClock } from '../clock.ts';
import { WstunError } from '../errors.ts';
import { type Client, type ClientOptions, startClient } from './client.ts';

export interface ConnectedClientOptions extends Omit<ClientOptions, 'listen' | 'allowLan' | 'credentials' | 'once'> {
  /** For the first session, ms. */
  readonly limitMs: number;
  /** Ends the wait. */
  readonly signal: AbortSignal;
  /** An attempt failed; the next one follows. */
  readonly onAttemptFailed: (error: WstunError) => void;
  readonly clock?: Clock;
}

/**
 * Resolves when it is connected. Then it may lose its link and find another; `ended` of it tells what is final.
 * @throws WstunError own-client-late; dial-cancelled after `signal`; and as startClient
 */
export async function startConnectedClient(options: ConnectedClientOptions): Promise<Client> {
  const { limitMs, signal, onAttemptFailed, clock = systemClock, ...rest } = options;
  let lastFault: WstunError | undefined;
  let handleConnected = (): void => {};
  const connected = new Promise<void>((resolve) => {
    handleConnected = resolve;
  });
  const events: ClientOptions['events'] = {
    ...rest.events,
    onConnected: (info) => {
      rest.events?.onConnected?.(info);
      handleConnected();
    },
    onFailed: (error, waitMs) => {
      rest.events?.onFailed?.(error, waitMs);
      lastFault = error;
      onAttemptFailed(error);
    },
  };
  const client = await startClient({ ...rest, listen: { host: '127.0.0.1', port: 0 }, events });
  const wait = new AbortableWait<void>({
    ...{ clock, signal, limitMs },
    onAbort: (aborted) => aborted.reject(new WstunError('dial-cancelled')),
    onExpired: (expired) => expired.reject(late(limitMs, lastFault)),
  });
  const handleFirst = () => wait.resolve(undefined);
  void connected.then(handleFirst);
  client.ended.catch((error: WstunError) => wait.reject(error));
  try {
    await wait.promise;
    return client;
  } catch (error) {
    await client.close(0);
    throw error;
  }
}

function late(limitMs: number, cause: WstunError | undefined): WstunError {
  const seconds = `after ${limitMs / 1000} s`;
  return new WstunError('own-client-late', cause === undefined ? seconds : `${seconds}: ${cause.what}`, { cause });
}
