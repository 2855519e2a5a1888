/**
 * A link through the built page in Chromium, without sessions and without processes of wstun: the laptop's end, and
 * the relay's.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { silentLogger } from '../../../src/observability/logger.ts';
import { TetherServer } from '../../../src/tether/laptop/tether-server.ts';
import type { MessageLink } from '../../../src/transport/message-link.ts';
import { LinkRecorder } from '../links/link-recorder.ts';
import { type LinkServer, startLinkServer } from '../links/websocket-pair.ts';
import { atEnd } from '../scope.ts';
import { Phone, type PhonePage } from './phone.ts';

export const BUILT_PAGE = join(import.meta.dirname, '../../../dist/tether/page.html');

interface End {
  readonly link: MessageLink;
  readonly at: LinkRecorder;
}

export async function rawLink(
  script?: string,
): Promise<{ near: MessageLink; far: End; page: PhonePage; phone: Phone }> {
  const { relay, relayUrl, server, code } = await startLaptop();
  const phone = await Phone.start();
  const page = await phone.open(code(), script);
  const accepted = relay.nextLink().then(({ link }) => ({ link, at: new LinkRecorder(link) }));
  const near = await server.dial(() => `${relayUrl}/ticket`, AbortSignal.timeout(10_000));
  return { near, far: await accepted, page, phone };
}

export interface Laptop {
  readonly relay: LinkServer;
  readonly relayUrl: string;
  readonly server: TetherServer;
  code(): string;
}

export interface LaptopOptions {
  /** In the code; default: 127.0.0.1. */
  readonly publicHost?: string;
  /** Default: that of `relay`. */
  readonly relayPort?: number;
}

/** Only the laptop's side, and a server to dial. */
export async function startLaptop({ publicHost = '127.0.0.1', relayPort }: LaptopOptions = {}): Promise<Laptop> {
  const relay = await startLinkServer();
  atEnd(() => relay.close());
  const relayUrl = `ws://127.0.0.1:${relayPort ?? relay.port}`;
  let code = '';
  const server = new TetherServer({
    page: readFileSync(BUILT_PAGE),
    relayUrls: [relayUrl],
    onEvent: (event) => {
      if (event.type === 'code') code = event.url;
    },
    logger: silentLogger,
  });
  atEnd(() => server.close());
  await server.serve({ host: '127.0.0.1', port: 0, publicHost });
  return { relay, relayUrl, server, code: () => code };
}
