/** A page of a tether without a browser: pairs, answers pings, and opens links as a test requests. */
import { once } from 'node:events';
import { WebSocket } from 'ws';
import { type Clock, systemClock } from '../../../src/clock.ts';
import { silentLogger } from '../../../src/observability/logger.ts';
import { type TetherEvent, TetherServer } from '../../../src/tether/laptop/tether-server.ts';
import {
  decodeLaptopMessage,
  encodeMessage,
  type LaptopMessage,
  type PageMessage,
} from '../../../src/tether/shared/messages.ts';
import { beginPairing, MESSAGE, type PairingKeys, Seal, secretFromText } from '../../../src/tether/shared/pairing.ts';
import { atEnd } from '../scope.ts';
import { until } from '../until.ts';

export interface RunningTether {
  readonly server: TetherServer;
  readonly events: TetherEvent[];
  /** `HOST:PORT`. */
  readonly host: string;
  /** The secret of the latest code. */
  secret(): Uint8Array;
}

export const PAGE = Buffer.from('<!doctype html><style>a{}</style><script>1</script>');

export async function startTether(clock: Clock = systemClock): Promise<RunningTether> {
  const events: TetherEvent[] = [];
  const server = new TetherServer({
    page: PAGE,
    relayUrls: ['wss://relay.example.org/a'],
    onEvent: (event) => events.push(event),
    logger: silentLogger,
    clock,
  });
  atEnd(() => server.close());
  await server.serve({ host: '127.0.0.1', port: 0, publicHost: '127.0.0.1' });
  const secret = () => {
    const code = events.filter((event) => event.type === 'code').at(-1);
    return secretFromText(code?.url.split('#')[1] ?? '') ?? new Uint8Array(0);
  };
  return { server, events, host: `127.0.0.1:${server.address?.port}`, secret };
}

/** A WebSocket as a page of that origin opens it. */
export function openSocket(host: string, path: string, headers: Record<string, string> = {}): WebSocket {
  const socket = new WebSocket(`ws://${host}${path}`, {
    headers: { Origin: `http://${host}`, ...headers },
    perMessageDeflate: false,
  });
  socket.on('error', () => {});
  atEnd(() => socket.terminate());
  return socket;
}

/** The status of a rejected upgrade, or 101. */
export function statusOf(socket: WebSocket): Promise<number> {
  return new Promise((resolve) => {
    socket.once('open', () => resolve(101));
    socket.once('unexpected-response', (_request, response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    socket.once('close', () => resolve(0));
  });
}

export type OpenRequest = Extract<LaptopMessage, { type: 'open' }>;

export type Pairing = { readonly keys: PairingKeys } | 'refused' | 'closed';

/** Pairs with a secret on a control link that is about to open. */
export async function pair(socket: WebSocket, host: string, secret: Uint8Array): Promise<Pairing> {
  const pairing = beginPairing(secret, host);
  if ((await statusOf(socket)) !== 101) return 'closed';
  socket.send(pairing.hello);
  const answer = await nextMessage(socket);
  const proof = answer && pairing.prove(answer);
  if (proof === undefined) return answer?.[0] === MESSAGE.refusal ? 'refused' : 'closed';
  socket.send(proof);
  const last = await nextMessage(socket);
  if (last === undefined) return 'closed';
  const keys = pairing.finish(last);
  return keys === undefined ? 'refused' : { keys };
}

/** Undefined: the link ended. */
export async function nextMessage(socket: WebSocket): Promise<Uint8Array | undefined> {
  if (socket.readyState > WebSocket.OPEN) return undefined;
  return await new Promise((resolve) => {
    socket.once('message', (data: Buffer) => resolve(Uint8Array.from(data)));
    socket.once('close', () => resolve(undefined));
  });
}

export class FakePage {
  readonly socket: WebSocket;
  readonly host: string;
  readonly rejoin: Uint8Array;
  readonly messages: LaptopMessage[] = [];
  pings = 0;
  /** Whether it answers pings. */
  answers = true;
  /** Receives requests for links in place of `nextOpen`. */
  onOpen: ((open: OpenRequest) => void) | undefined;
  private readonly outgoing: Seal;

  private constructor(socket: WebSocket, host: string, keys: PairingKeys) {
    this.socket = socket;
    this.host = host;
    this.rejoin = keys.rejoin;
    this.outgoing = new Seal(keys.pageSeal);
    const incoming = new Seal(keys.laptopSeal);
    socket.on('message', (data: Buffer) => {
      const content = incoming.open(Uint8Array.from(data));
      const message = content && decodeLaptopMessage(content);
      if (message === undefined) throw new Error('the laptop said what cannot be');
      if (message.type === 'ping' && this.answers) this.send({ type: 'pong' });
      if (message.type === 'ping') this.pings += 1;
      else if (message.type === 'open' && this.onOpen) this.onOpen(message);
      else this.messages.push(message);
    });
  }

  static async join(
    { host, secret, server }: RunningTether,
    withSecret = secret(),
    time = Date.now(),
  ): Promise<FakePage> {
    const page = await FakePage.pair(host, withSecret);
    const before = server.pages;
    page.send({ type: 'joined', time });
    await until(() => server.pages > before);
    return page;
  }

  /** Paired, but `joined` is not sent yet. */
  static async pair(host: string, secret: Uint8Array): Promise<FakePage> {
    const socket = openSocket(host, '/control');
    const paired = await pair(socket, host, secret);
    if (typeof paired === 'string') throw new Error(paired);
    return new FakePage(socket, host, paired.keys);
  }

  send(message: PageMessage): void {
    this.socket.send(this.outgoing.seal(encodeMessage(message)));
  }

  sendRaw(bytes: Uint8Array): void {
    this.socket.send(bytes);
  }

  /** The next request for a link after those already seen. */
  async nextOpen(): Promise<OpenRequest> {
    await until(() => this.messages.some(({ type }) => type === 'open'));
    const at = this.messages.findIndex(({ type }) => type === 'open');
    const [message] = this.messages.splice(at, 1);
    if (message?.type !== 'open') throw new Error('unreachable');
    return message;
  }

  /** Resolves when the laptop has read all that this page sent. */
  async heard(): Promise<void> {
    const answer = once(this.socket, 'pong');
    this.socket.ping();
    await answer;
  }

  /** Opens the local connection of a link. */
  async openLocal(link: string): Promise<WebSocket> {
    const local = openSocket(this.host, `/link/${link}`);
    await once(local, 'open');
    return local;
  }

  duty(): string | undefined {
    const duties = this.messages.filter((message) => message.type === 'duty');
    return duties.at(-1)?.duty;
  }
}
