/**
 * A page of a tether that carries links, without a browser: does what src/tether/page does, in this process, and keeps
 * with which codes its WebSockets ended.
 */
import { WebSocket } from 'ws';
import { secretFromText } from '../../src/tether/shared/pairing.ts';
import { FakePage, type OpenRequest, openSocket } from './fake-page.ts';
import { atEnd } from './scope.ts';

const NORMAL = 1000;
const LOST = 4001;

/** What became of one request for a link. */
export interface CarriedLink {
  /** When the laptop asked for it. */
  readonly askedAt: number;
  readonly far: WebSocket;
  near: WebSocket | undefined;
  /** The status with which the relay refused the far leg. */
  refused: number | undefined;
  /**
   * With which code each leg was ended by its other end; undefined while it stands, and for a leg that this page ended.
   */
  farEnd: number | undefined;
  nearEnd: number | undefined;
}

export class CarryingPage {
  readonly links: CarriedLink[] = [];
  /** With which code the laptop ended the control link; undefined while it stands. */
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
      for (const { far, near } of this.links) for (const leg of [far, near]) leg?.close(LOST);
    });
  }

  /** Neither reads nor answers any more, as a phone whose page was stopped: its WebSockets stand. */
  freeze(): void {
    for (const socket of [this.page.socket, ...this.links.flatMap(({ near }) => near ?? [])]) socket.pause();
  }

  private open({ link: token, url }: OpenRequest): void {
    const far = new WebSocket(url, { perMessageDeflate: false });
    atEnd(() => far.terminate());
    const link: CarriedLink = {
      askedAt: performance.now(),
      far,
      near: undefined,
      refused: undefined,
      farEnd: undefined,
      nearEnd: undefined,
    };
    this.links.push(link);
    const early: Buffer[] = [];
    far.on('message', (data: Buffer) =>
      link.near?.readyState === WebSocket.OPEN ? link.near.send(data) : early.push(data),
    );
    far.once('open', () => this.openNear(link, token, early));
    far.once('unexpected-response', (_request, response) => {
      link.refused = response.statusCode;
      far.terminate();
    });
    far.on('error', () => {
      if (link.near === undefined)
        this.page.send({
          type: 'failed',
          link: token,
          reason: link.refused === undefined ? 'unreachable' : 'refused',
        });
    });
    far.once('close', (code) => {
      link.farEnd = code;
      if (link.near?.readyState === WebSocket.OPEN) link.near.close(code === NORMAL ? NORMAL : LOST);
    });
  }

  private openNear(link: CarriedLink, token: string, early: readonly Buffer[]): void {
    const near = openSocket(this.page.host, `/link/${token}`);
    link.near = near;
    let carried = 0;
    near.once('open', () => {
      for (const data of early) near.send(data);
      if (link.farEnd !== undefined) near.close(link.farEnd === NORMAL ? NORMAL : LOST);
    });
    near.on('message', (data: Buffer) =>
      link.far.send(data, () => {
        carried += data.length;
        if (near.readyState === WebSocket.OPEN) near.send(String(carried));
      }),
    );
    near.once('close', (code) => {
      link.nearEnd = code;
      link.far.close(code === NORMAL ? NORMAL : LOST);
    });
  }
}
