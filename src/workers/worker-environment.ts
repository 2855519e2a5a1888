/** What a worker process is told at its start, in its environment: nothing of it is secret. */

const NAME = 'WSTUN_WORKER';

export interface WorkerStart {
  readonly id: string;
  /** Of the relay that they are, 32 hex digits. */
  readonly instance: string;
  /** Workers of the relay. */
  readonly count: number;
  /** Of their sockets. */
  readonly directory: string;
  /** Metrics are shown by the process that started it, at that port; missing: nowhere. */
  readonly adminPort?: number | undefined;
  /** Listening sockets of the process that started it. */
  readonly passed: readonly { readonly fd: number; readonly name: string }[];
}

export function startEnvironment(start: WorkerStart): Record<string, string> {
  return { [NAME]: JSON.stringify(start) };
}

/**
 * Undefined for a process that is no worker: a program that a worker starts inherits the variable.
 * @param hasParent there is a process that messages can be sent to
 */
export function startOf(
  environment: Readonly<Record<string, string | undefined>>,
  hasParent: boolean,
): WorkerStart | undefined {
  const text = environment[NAME];
  return text === undefined || !hasParent ? undefined : (JSON.parse(text) as WorkerStart);
}
