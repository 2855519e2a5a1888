/** The page at http://wstun.internal/, which only programs that use this proxy can see. It holds no secret. Pure. */

/** What the proxy is told of the tunnel behind it, when somebody asks. */
export interface TunnelFacts {
  readonly state: 'connecting' | 'connected' | 'link-lost' | 'disconnected' | 'closing';
  /** Where targets are dialled: by the relay, or by an exit behind it. */
  readonly exit: 'relay' | 'named';
  /** `host:port` */
  readonly relay: string;
  /** What carries the link, and through which proxy. */
  readonly route?: { readonly carrier: string; readonly proxy?: string | undefined } | undefined;
  /** Of the session's quickest link. */
  readonly roundTripMs?: { readonly now: number; readonly min: number } | undefined;
}

const HEADINGS: Readonly<Record<TunnelFacts['state'], readonly [heading: string, text: string]>> = {
  connected: ['You are through.', 'This program uses the proxy of wstun, and the tunnel behind it is connected.'],
  connecting: ['Not connected yet.', 'This program uses the proxy of wstun, which is connecting to its relay.'],
  'link-lost': [
    'The link is lost.',
    'This program uses the proxy of wstun. Its connections wait for a new link; wstun is looking for one.',
  ],
  disconnected: [
    'Not connected.',
    'This program uses the proxy of wstun, which has no session with its exit at the moment. It tries again by itself.',
  ],
  closing: ['wstun is closing.', 'Connections that are open may finish; there are no new ones.'],
};

const CARRIERS: Readonly<Record<string, string>> = {
  websocket: 'a WebSocket',
  http: 'HTTP requests',
  page: 'the page of a phone or browser',
};

export function ownPage(facts: TunnelFacts): string {
  const [heading, text] = HEADINGS[facts.state];
  const rows = rowsOf(facts).map(([name, value]) => `<dt>${escapeHtml(name)}</dt><dd>${escapeHtml(value)}</dd>`);
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<title>wstun: ${escapeHtml(heading)}</title>
<style>
body { font: 1.1rem/1.6 system-ui, sans-serif; max-width: 36rem; margin: 3rem auto; padding: 0 1rem }
dt { font-weight: 600; margin-top: .8rem }
dd { margin: 0 }
</style>
<h1>${escapeHtml(heading)}</h1>
<p>${escapeHtml(text)}</p>
<dl>
${rows.join('\n')}
</dl>
</html>
`;
}

function rowsOf({ exit, relay, route, roundTripMs }: TunnelFacts): readonly (readonly [string, string])[] {
  const place =
    exit === 'relay'
      ? `the relay itself, ${relay}`
      : `an exit of its own, behind the relay ${relay}, which cannot read it`;
  const outside =
    exit === 'relay'
      ? 'An address of the machine on which the relay runs, or of a router in front of it.'
      : 'An address of the network in which the exit is. The exit does not tell it.';
  return [
    ['Targets are dialled by', place],
    ['What websites see as your address', `${outside} Only a website knows it for certain, and wstun asks none.`],
    ...(route === undefined ? [] : ([['The link is carried by', routeText(route)]] as const)),
    ...(roundTripMs === undefined
      ? []
      : ([
          [
            'Round trip to the exit',
            `${milliseconds(roundTripMs.now)}; the least so far: ${milliseconds(roundTripMs.min)}`,
          ],
        ] as const)),
    ['Without the tunnel', 'This page does not exist: no name server knows wstun.internal.'],
  ];
}

function routeText({ carrier, proxy }: NonNullable<TunnelFacts['route']>): string {
  const by = CARRIERS[carrier] ?? carrier;
  return proxy === undefined ? by : `${by}, through the proxy ${proxy}`;
}

function milliseconds(ms: number): string {
  return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`);
}
