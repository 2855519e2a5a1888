/**
 * A pool for vitest in which each test file has a network to itself: a loopback, and what its tests add. So files may
 * run side by side that change their network, give a port back to take it again, or use up thousands of them.
 */
import { spawnSync } from 'node:child_process';
import type { PoolRunnerInitializer } from 'vitest/node';
import { forkPool } from './fork-pool.ts';
import { OWN_NETWORK } from './own-network-flag.ts';

/** Each becomes the command behind it. */
const IN_OWN_NETWORK = ['--net', '--', 'sh', '-c', 'ip link set lo up && exec "$0" "$@"'];
const PATH = `${process.env.PATH ?? ''}:/usr/sbin:/sbin`;

/** Mostly root alone may have it. */
const isAllowed = spawnSync('unshare', [...IN_OWN_NETWORK, 'true'], { env: { PATH } }).status === 0;

export const ownNetwork: PoolRunnerInitializer | undefined = isAllowed
  ? forkPool('own-network', {
      program: 'unshare',
      args: [...IN_OWN_NETWORK, process.execPath],
      env: { PATH, [OWN_NETWORK]: '1' },
    })
  : undefined;
