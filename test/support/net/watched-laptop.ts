/**
 * A laptop in a network namespace of its own, from which only a relay can be reached. Every other packet that leaves it
 * is rejected and counted: of any protocol, to whatever address, also to a name server.
 */
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { run, runWell } from '../programs/programs.ts';
import { atEnd } from '../scope.ts';
import { startRoutedNetwork } from './routed-network.ts';

export interface WatchedLaptop {
  /** In front of a command that is to run there. */
  readonly there: readonly string[];
  /** Of the test's own machine. */
  readonly relayAddress: string;
  /**
   * How many packets tried to leave past the relay's port since the last call. Then sends one such packet, and throws
   * if that was not counted: a 0 can be believed.
   */
  strays(): Promise<number>;
  /** From now on the relay's port may be reached. */
  allow(port: number): Promise<void>;
}

/** Until the test, or the file, is over. */
export async function startWatchedLaptop(): Promise<WatchedLaptop> {
  const { there, laptop, relayAddress } = await startRoutedNetwork();
  const iptables = (...args: string[]): Promise<string> => runWell('iptables', ['-w', ...args], { within: there });
  // The kernel's own questions for IPv6 neighbours would be counted, too.
  await runWell('sysctl', ['-qw', 'net.ipv6.conf.all.disable_ipv6=1'], { within: there });
  const files = `/etc/netns/${laptop}`;
  await mkdir(files, { recursive: true });
  atEnd(() => rm(files, { recursive: true, force: true }));
  // Not on this machine, where a question would not be seen.
  await writeFile(`${files}/resolv.conf`, 'nameserver 9.9.9.9\n');
  await iptables('-A', 'OUTPUT', '-o', 'lo', '-j', 'ACCEPT');
  await iptables('-A', 'OUTPUT', '-j', 'REJECT');
  const count = async (): Promise<number> => {
    const listed = await iptables('-vnxL', 'OUTPUT', '-Z');
    return Number(/^\s*(\d+)\s+\d+\s+REJECT/m.exec(listed)?.[1]);
  };
  return {
    there,
    relayAddress,
    strays: async () => {
      const counted = await count();
      // The kernel tells bash that it was rejected.
      await run('bash', ['-c', 'echo > /dev/udp/9.9.9.9/53'], { within: there });
      const own = await count();
      if (own !== 1) throw new Error(`one packet was sent past the relay's port, and ${own} were counted`);
      return counted;
    },
    allow: async (port) => {
      await iptables('-I', 'OUTPUT', '-p', 'tcp', '-d', relayAddress, '--dport', String(port), '-j', 'ACCEPT');
    },
  };
}
