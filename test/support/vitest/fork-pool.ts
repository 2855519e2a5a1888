/** A pool for vitest whose workers are started by a command, instead of by the Node that runs vitest alone. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { ForksPoolWorker, type PoolRunnerInitializer } from 'vitest/node';

export interface ForkCommand {
  /** Starts a Node, or becomes one, so that the process that vitest starts, and ends, is the worker itself. */
  readonly program: string;
  /** Before those of Node. */
  readonly args?: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
}

class CommandWorker extends ForksPoolWorker {
  private readonly command: ForkCommand;

  constructor(command: ForkCommand, ...options: ConstructorParameters<typeof ForksPoolWorker>) {
    super(...options);
    this.command = command;
  }

  override async start(): Promise<void> {
    const { program, args = [], env } = this.command;
    const worker = fork(this.entrypoint, [], {
      execPath: program,
      execArgv: [...args, ...this.execArgv],
      env: { ...this.env, ...env },
      stdio: 'pipe',
      serialization: 'advanced',
    });
    // What cannot be started fails its files here; later it would end vitest.
    await once(worker, 'spawn');
    // With a process in this field it starts none.
    Object.assign(this, { _fork: worker });
    await super.start();
  }
}

export function forkPool(name: string, command: ForkCommand): PoolRunnerInitializer {
  return { name, createPoolWorker: (options) => new CommandWorker(command, options) };
}
