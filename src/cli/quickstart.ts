/** `wstun quickstart`: a relay, a client and a page to fetch, on loopback. Their state is deleted at the end. */
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Client, startClient } from '../app/client.ts';
import { startRelay } from '../app/relay.ts';
import { WstunError } from '../errors.ts';
import { formatHostPort, type HostPort } from '../net/host-port.ts';
import { isLoopback } from '../proxy/listen-check.ts';
import { reports } from './client.ts';
import { OutageReport } from './outage-report.ts';
import { type Output, type OutputOptions, runWithOutput } from './output.ts';
import { browserLines } from './proxy-usage.ts';
import { shellQuote } from './shell.ts';
import { firstSignal } from './shutdown.ts';
import { TetherReport } from './tether.ts';

/** Only this exit knows the name: names are resolved at the exit. Chromium sends nothing for 127.0.0.1 to its proxy. */
const PAGE_HOST = 'hello.wstun.internal';

const DRAIN_MS = 1000;

type QuickstartCommand = OutputOptions & { readonly listen: HostPort };

export function runQuickstart(options: QuickstartCommand): Promise<void> {
  return runWithOutput({ ...options, fewLogs: true }, (output) => run(options, output));
}

async function run(options: QuickstartCommand, output: Output): Promise<NodeJS.Signals | undefined> {
  if (!isLoopback(options.listen.host))
    throw new WstunError('open-to-network', options.listen.host, {
      fix: `The quickstart is only for this machine: --listen 127.0.0.1:${options.listen.port}.`,
    });
  const directory = await mkdtemp(join(tmpdir(), 'wstun-quickstart-'));
  const stack = await startStack(directory, options.listen, output).catch(async (error: unknown) => {
    await rm(directory, { recursive: true, force: true });
    throw error;
  });
  const end = async (graceMs: number) => {
    await stack.client.close(graceMs);
    await stack.relay.close(graceMs);
    stack.page.close();
    stack.page.closeAllConnections();
    await rm(directory, { recursive: true, force: true });
  };
  const signal = await Promise.race([stack.client.ended.then(() => undefined), firstSignal(() => end(0), output)]);
  await end(DRAIN_MS);
  return signal;
}

async function startStack(directory: string, listen: HostPort, output: Output) {
  const page = await startPage();
  const address = page.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const relay = await startRelay({
    state: directory,
    listen: [{ host: '127.0.0.1', port: 0 }],
    hosts: { [PAGE_HOST]: '127.0.0.1' },
    logger: output.logger,
  });
  const invite = await relay.invite('quickstart', { allow: [`${PAGE_HOST}:${port}`] });
  const url = `http://${PAGE_HOST}:${port}/`;
  const showReady = () => {
    const at = formatHostPort(client.listen);
    output.event({ event: 'ready', role: 'quickstart', listen: at, relay: relay.url, url });
    output.show(describe(client.listen, relay.url, url), { instead: `ready: the proxy is on ${at}`, isNeeded: true });
  };
  const events = reports(output, new OutageReport(output), new TetherReport(output), showReady);
  const client: Client = await startClient({ invite, listen, events, proxy: 'none', logger: output.logger });
  return { page, relay, client };
}

function startPage(): Promise<Server> {
  const server = createServer((_request, response) => {
    response.writeHead(200, { 'content-type': 'text/html; charset=utf-8', 'cache-control': 'no-store' });
    response.end(PAGE);
  });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => resolve(server));
  });
}

const PAGE = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>wstun works</title>
<style>body { font: 1.2rem/1.6 system-ui, sans-serif; max-width: 34rem; margin: 4rem auto; padding: 0 1rem }</style>
<h1>wstun works.</h1>
<p>This page came through the tunnel. The relay opened a TCP connection to a small server, and the page travelled as a
stream of one WebSocket to the proxy on your machine. Only the relay knows the name of this page.</p>
</html>
`;

function describe(proxy: HostPort, relayUrl: string, url: string): string {
  const socks = shellQuote(`socks5h://${formatHostPort(proxy)}`);
  return `
wstun is running on this machine: a relay on ${relayUrl}, and a client.
SOCKS5, SOCKS4a and HTTP proxy: ${formatHostPort(proxy)}

Try it in another terminal (this also works without internet access):

  curl -x ${socks} ${url}

In a browser:

${browserLines({ address: proxy }, url)}

With internet access, any other address works too:

  curl -x ${socks} https://example.org/

Press Ctrl-C to stop.
`;
}
