/**
 * A TCP proxy on loopback that does to each connection what a bad network may: sooner or later it resets it, ends it,
 * freezes it for ever, or holds it for a while, again and again. Seeded: the same fates, at times of the machine's own.
 */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** Until something happens to a connection, ms. */
const LEAST_MS = 20;
const MOST_MS = 1_500;
/** How long one is held, ms: at the most longer than it takes until a link is taken for stalled. */
const MOST_HELD_MS = 5_000;

/** A control link of an exit passes less, bytes. */
const QUIET_BYTES = 64 * 1024;

const FATES = ['reset', 'end', 'freeze', 'hold', 'hold'] as const;
type Fate = (typeof FATES)[number];

export interface ChaosNetwork {
  readonly port: number;
  /** What has happened to how many connections. */
  readonly counts: Readonly<Record<Fate | 'connections', number>>;
  close(): void;
}

/** xorshift32 (Marsaglia 2003), 0 to 1. */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

/**
 * @param sparesQuiet nothing happens to connections that have passed little: without the control link of an exit, which
 *   it takes up to 45 s to miss, no client finds it
 */
export async function startChaosNetwork(targetPort: number, seed: number, sparesQuiet = false): Promise<ChaosNetwork> {
  const network = new Chaos(targetPort, randomFrom(seed), sparesQuiet);
  await network.listen();
  return network;
}

class Chaos implements ChaosNetwork {
  readonly counts = { connections: 0, reset: 0, end: 0, freeze: 0, hold: 0 };
  private readonly sockets = new Set<Socket>();
  /** Of the next that happens to a connection, by the socket that was accepted. */
  private readonly timers = new WeakMap<Socket, NodeJS.Timeout>();
  private readonly server = createServer({ noDelay: true }, (near) => this.serve(near));

  constructor(
    private readonly targetPort: number,
    private readonly random: () => number,
    private readonly sparesQuiet: boolean,
  ) {}

  async listen(): Promise<void> {
    this.server.listen({ port: 0, host: '127.0.0.1', backlog: 1024 });
    await once(this.server, 'listening');
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  close(): void {
    this.server.close();
    for (const socket of this.sockets) socket.destroy();
  }

  private serve(near: Socket): void {
    this.counts.connections += 1;
    const far = connect({ port: this.targetPort, host: '127.0.0.1', noDelay: true });
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      this.sockets.add(socket);
      socket.on('error', () => other.destroy());
      socket.once('close', () => {
        this.sockets.delete(socket);
        other.destroy();
      });
      socket.pipe(other);
    }
    near.once('close', () => clearTimeout(this.timers.get(near)));
    this.scheduleFate(near, far);
  }

  private scheduleFate(near: Socket, far: Socket): void {
    const waitMs = LEAST_MS + this.random() * (MOST_MS - LEAST_MS);
    this.timers.set(
      near,
      setTimeout(() => this.meetFate(near, far), waitMs),
    );
  }

  private meetFate(near: Socket, far: Socket): void {
    const fate = FATES[Math.floor(this.random() * FATES.length)] ?? 'reset';
    const isQuiet = near.bytesRead + near.bytesWritten < QUIET_BYTES;
    if (this.sparesQuiet && isQuiet) return this.scheduleFate(near, far);
    this.counts[fate] += 1;
    switch (fate) {
      case 'reset':
        near.resetAndDestroy();
        far.resetAndDestroy();
        return;
      case 'end':
        near.end();
        far.end();
        return;
      case 'freeze':
        near.unpipe(far).pause();
        far.unpipe(near).pause();
        return;
      case 'hold':
        this.hold(near, far);
    }
  }

  private hold(near: Socket, far: Socket): void {
    near.unpipe(far).pause();
    far.unpipe(near).pause();
    const release = (): void => {
      near.pipe(far);
      far.pipe(near);
      this.scheduleFate(near, far);
    };
    this.timers.set(near, setTimeout(release, this.random() * MOST_HELD_MS));
  }
}
