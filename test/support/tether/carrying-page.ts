/**
 * A page of a tether that carries links, without a browser: does what src/tether/page does, in this process, and
 * records the close codes of its WebSockets.
 */
import { WebSocket } from 'ws';
import { secretFromText } from '../../../src/tether/shared/pairing.ts';
import { FakePage, type OpenRequest, openSocket } from '../links/fake-page.ts';
import { atEnd } from '../scope.ts';

const NORMAL = 1000;
const LOST = 4001;

/** The outcome of one request for a link. */
export interface CarriedLink {
  /** When the laptop asked for it. */
  readonly requestedAt: number;
  readonly upstream: WebSocket;
  local: WebSocket | undefined;
  /** The status with which the relay refused the upstream connection. */
  refused: number | undefined;
  /** The close code of each connection that its other end closed; undefined otherwise. */
  upstreamClose: number | undefined;
  localClose: number | undefined;
}

export class CarryingPage {
  readonly links: CarriedLink[] = [];
  /** The close code of the control link that the laptop closed; undefined while it is open. */
  controlEnd: number | undefined;
  private readonly page: FakePage;

  /** @param code the URL of the code that the client shows */
  static async join(code: string): Promise<CarryingPage> {
    const { host, hash } = new URL(code);
    const secret = secretFromText(hash.slice(1));
    if (secret === undefined) throw new Error('no code');
    const page = new CarryingPage(await FakePage.pair(host, secret));
    page.page.send({ type: 'joined', time: Date.now() });
    return page;
  }

  private constructor(page: FakePage) {
    this.page = page;
    page.onOpen = (open) => this.open(open);
    page.socket.on('close', (code) => {
      this.controlEnd = code;
      for (const { upstream, local } of this.links) for (const socket of [upstream, local]) socket?.close(LOST);
    });
  }

  /** Stops reading and answering, like a phone whose page was stopped: its WebSockets stay open. */
  freeze(): void {
    for (const socket of [this.page.socket, ...this.links.flatMap(({ local }) => local ?? [])]) socket.pause();
  }

  private open({ link: token, url }: OpenRequest): void {
    const upstream = new WebSocket(url, { perMessageDeflate: false });
    atEnd(() => upstream.terminate());
    const link: CarriedLink = {
      requestedAt: performance.now(),
      upstream,
      local: undefined,
      refused: undefined,
      upstreamClose: undefined,
      localClose: undefined,
    };
    this.links.push(link);
    const early: Buffer[] = [];
    upstream.on('message', (data: Buffer) =>
      link.local?.readyState === WebSocket.OPEN ? link.local.send(data) : early.push(data),
    );
    upstream.once('open', () => this.openLocal(link, token, early));
    upstream.once('unexpected-response', (_request, response) => {
      link.refused = response.statusCode;
      upstream.terminate();
    });
    upstream.on('error', () => {
      if (link.local === undefined)
        this.page.send({
          type: 'failed',
          link: token,
          reason: link.refused === undefined ? 'unreachable' : 'refused',
        });
    });
    upstream.once('close', (code) => {
      link.upstreamClose = code;
      if (link.local?.readyState === WebSocket.OPEN) link.local.close(code === NORMAL ? NORMAL : LOST);
    });
  }

  private openLocal(link: CarriedLink, token: string, early: readonly Buffer[]): void {
    const local = openSocket(this.page.host, `/link/${token}`);
    link.local = local;
    let carried = 0;
    local.once('open', () => {
      for (const data of early) local.send(data);
      if (link.upstreamClose !== undefined) local.close(link.upstreamClose === NORMAL ? NORMAL : LOST);
    });
    local.on('message', (data: Buffer) =>
      link.upstream.send(data, () => {
        carried += data.length;
        if (local.readyState === WebSocket.OPEN) local.send(String(carried));
      }),
    );
    local.once('close', (code) => {
      link.localClose = code;
      link.upstream.close(code === NORMAL ? NORMAL : LOST);
    });
  }
}
