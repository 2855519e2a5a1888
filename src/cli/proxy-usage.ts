/** Prints how programs use the proxy. Each command has a line of its own, so that it can be pasted. Pure. */
import { formatHostPort, type HostPort } from '../net/host-port.ts';
import { shellQuote } from './shell.ts';

export interface ProxyPlace {
  /** Where programs reach it, also from another machine. */
  readonly address: HostPort;
  /** The user name that it requires. The password is never printed. */
  readonly user?: string | undefined;
}

const PASSWORD = 'PASSWORD';
/** Where other commands look for a client. */
const USUAL_ADDRESS = '127.0.0.1:1080';

export function describeProxy(listening: HostPort, place: ProxyPlace): string {
  const socks = shellQuote(urlOf('socks5h', place));
  const http = shellQuote(urlOf('http', place));
  const none = 'localhost,127.0.0.1,::1';
  const at = formatHostPort(place.address);
  const of = at === USUAL_ADDRESS ? '' : ` --listen ${shellQuote(at)}`;
  const everywhere = at === formatHostPort(listening) ? '' : `, for other machines at ${at}`;
  const secret = place.user === undefined ? '' : `\nReplace ${PASSWORD} with your password.\n`;
  return `
wstun is ready: SOCKS5, SOCKS4a and HTTP proxy on ${formatHostPort(listening)}${everywhere}
${secret}
Try it:

  curl -x ${socks} https://example.org/

In a browser, with a profile of its own; or by the PAC file http://${at}/proxy.pac:

  wstun browser${of}
${browserLines(place)}

For one program; whether it is through says http://wstun.internal/:

  wstun run${of} -- curl https://example.org/

For programs started in the same shell; ALL_PROXY is for those that support SOCKS (curl, git), the rest for all others (pip, npm, apt, wget):

  export ALL_PROXY=${socks}
  export http_proxy=${http}
  export https_proxy=${http}
  export HTTP_PROXY=${http}
  export HTTPS_PROXY=${http}
  export no_proxy=${none}
  export NO_PROXY=${none}

Press Ctrl-C to stop.
`;
}

/** Chromium and Firefox have no password for SOCKS: if one is needed, they use HTTP, which asks. @param url to open */
export function browserLines({ address, user }: ProxyPlace, url?: string): string {
  const scheme = user === undefined ? 'socks5' : 'http';
  const server = shellQuote(`--proxy-server=${scheme}://${formatHostPort(address)}`);
  const chromium = `chromium --user-data-dir=/tmp/wstun-browser ${server}${url === undefined ? '' : ` ${shellQuote(url)}`}`;
  const kind = user === undefined ? 'SOCKS v5 host' : 'HTTP proxy';
  const also = user === undefined ? 'Proxy DNS when using SOCKS v5' : 'Also use this proxy for HTTPS';
  return `  ${chromium}
  Firefox: Settings, Network Settings, Manual proxy configuration: ${kind} ${address.host}, port ${address.port},
           and "${also}"${url === undefined ? '' : `; then open ${url}`}`;
}

function urlOf(scheme: string, { address, user }: ProxyPlace): string {
  const who = user === undefined ? '' : `${encodeURIComponent(user)}:${PASSWORD}@`;
  return `${scheme}://${who}${formatHostPort(address)}`;
}
