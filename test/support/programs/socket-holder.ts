/**
 * What a service manager does for a relay: holds a listening socket, accepts nothing on it, and starts relays with it
 * as their descriptor 3. A shell does it, since node would accept on whatever it listens on.
 */
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { WstunProcess } from './wstun-process.ts';
import { wstunPath } from './wstun-program.ts';

/** A line is a relay's arguments, or `wait` for the latest to end. */
const SHELL = `
while read -r line; do
  if [ "$line" = wait ]; then
    wait "$!"
    echo "{\\"event\\":\\"exited\\",\\"code\\":$?}"
  else
    (
      export LISTEN_FDS=1 LISTEN_PID=$BASHPID LISTEN_FDNAMES=wstun.socket
      echo "{\\"event\\":\\"started\\",\\"pid\\":$BASHPID}"
      exec setpriv --pdeathsig KILL -- ${process.execPath} ${wstunPath} $line
    ) &
  fi
done`;

export interface SocketHolder {
  readonly port: number;
  /** Its events and logs are those of all its relays. */
  readonly process: WstunProcess;
  /** Starts a relay and waits until it is ready; its pid. No argument may hold a space. */
  relay(args: readonly string[]): Promise<number>;
  /** The exit code of the latest relay. */
  exited(): Promise<number>;
}

/** Until the test is over. */
export async function holdSocket(): Promise<SocketHolder> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const { fd } = (server as unknown as { _handle: { fd: number } })._handle;
  const process = new WstunProcess(['-c', SHELL], { through: 'bash', descriptors: [fd] });
  server.close();
  return {
    port,
    process,
    relay: async (args) => {
      process.say(['relay', '--json', ...args].join(' '));
      const { pid } = await process.event('started');
      await process.event('ready');
      return Number(pid);
    },
    exited: async () => {
      process.say('wait');
      return Number((await process.event('exited', 40_000)).code);
    },
  };
}
