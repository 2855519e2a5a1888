/**
 * A pool for vitest in which each test file has a network to itself: a loopback, and what its tests add. So files may run side by
 * side that change their network, give a port back to take it again, or use up thousands of them.
 */
import { fork, spawnSync } from 'node:child_process';
import { ForksPoolWorker, type PoolRunnerInitializer } from 'vitest/node';

/** Each becomes the command behind it, so the process that vitest starts, and ends, is the worker itself. */
const IN_OWN_NETWORK = ['--net', '--', 'sh', '-c', 'ip link set lo up && exec "$0" "$@"'];
const PATH = `${process.env.PATH ?? ''}:/usr/sbin:/sbin`;

class OwnNetworkWorker extends ForksPoolWorker {
  override async start(): Promise<void> {
    const worker = fork(this.entrypoint, [], {
      execPath: 'unshare',
      execArgv: [...IN_OWN_NETWORK, process.execPath, ...this.execArgv],
      env: { ...this.env, PATH },
      stdio: 'pipe',
      serialization: 'advanced',
    });
    // With a process in this field it starts none.
    Object.assign(this, { _fork: worker });
    await super.start();
  }
}

/** Mostly root alone may have it. */
const isAllowed = spawnSync('unshare', [...IN_OWN_NETWORK, 'true'], { env: { PATH } }).status === 0;

export const ownNetwork: PoolRunnerInitializer | undefined = isAllowed
  ? { name: 'own-network', createPoolWorker: (options) => new OwnNetworkWorker(options) }
  : undefined;
