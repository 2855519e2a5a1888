/**
 * Which product answers in front of a relay, as far as an HTTP answer tells. Pure. An answer is untrusted text: only a
 * name of the table below is printed, and of a redirect only scheme, host and port, after a check of their form.
 */
import type { IncomingHttpHeaders } from 'node:http';

/** How a product begins in `Server` or `Via`, in lower case, and its name. A fork comes before what it also names. */
const PRODUCTS: readonly (readonly [string, string])[] = [
  ['openresty', 'OpenResty'],
  ['nginx', 'nginx'],
  ['tengine', 'Tengine'],
  ['angie', 'Angie'],
  ['apache', 'Apache'],
  ['caddy', 'Caddy'],
  ['cloudflare', 'Cloudflare'],
  ['haproxy', 'HAProxy'],
  ['traefik', 'Traefik'],
  ['istio-envoy', 'Envoy'],
  ['envoy', 'Envoy'],
  ['varnish', 'Varnish'],
  ['squid', 'Squid'],
  ['tinyproxy', 'tinyproxy'],
  ['privoxy', 'Privoxy'],
  ['mitmproxy', 'mitmproxy'],
  ['microsoft-iis', 'Microsoft IIS'],
  ['microsoft-httpapi', 'Microsoft IIS'],
  ['microsoft-azure-application-gateway', 'Azure Application Gateway'],
  ['awselb', 'AWS load balancer'],
  ['cloudfront', 'Amazon CloudFront'],
  ['amazons3', 'Amazon S3'],
  ['gws', 'Google'],
  ['gfe', 'Google'],
  ['esf', 'Google'],
  ['google', 'Google'],
  ['ghs', 'Google'],
  ['litespeed', 'LiteSpeed'],
  ['lighttpd', 'lighttpd'],
  ['akamai', 'Akamai'],
  ['fastly', 'Fastly'],
  ['bunnycdn', 'bunny.net'],
  ['vercel', 'Vercel'],
  ['netlify', 'Netlify'],
  ['heroku', 'Heroku'],
  ['vegur', 'Heroku'],
  ['cowboy', 'Heroku'],
  ['fly', 'Fly.io'],
  ['github.com', 'GitHub'],
  ['ngrok', 'ngrok'],
  ['kong', 'Kong'],
  ['jetty', 'Jetty'],
  ['gunicorn', 'Gunicorn'],
  ['werkzeug', 'Werkzeug'],
  ['simplehttp', 'Python http.server'],
  ['uvicorn', 'Uvicorn'],
  ['hypercorn', 'Hypercorn'],
  ['kestrel', 'Kestrel'],
  ['bigip', 'F5 BIG-IP'],
  ['big-ip', 'F5 BIG-IP'],
  ['zscaler', 'Zscaler'],
  ['fortigate', 'FortiGate'],
  ['fortiweb', 'FortiWeb'],
  ['sophos', 'Sophos'],
  ['watchguard', 'WatchGuard'],
  ['bluecoat', 'Blue Coat'],
  ['mikrotik', 'MikroTik'],
  ['coova', 'CoovaChilli'],
  ['micro_httpd', 'micro_httpd'],
  ['mini_httpd', 'mini_httpd'],
  ['boa', 'Boa'],
  ['goahead', 'GoAhead'],
];

/** Fields that only one product sends. They are checked first, because `Server` may be that of the origin. */
const MARKS: readonly (readonly [string, string])[] = [
  ['cf-ray', 'Cloudflare'],
  ['x-amz-cf-id', 'Amazon CloudFront'],
  ['x-azure-ref', 'Azure Front Door'],
  ['x-fastly-request-id', 'Fastly'],
  ['x-akamai-request-id', 'Akamai'],
  ['x-squid-error', 'Squid'],
  ['x-vercel-id', 'Vercel'],
  ['x-nf-request-id', 'Netlify'],
  ['fly-request-id', 'Fly.io'],
  ['ngrok-error-code', 'ngrok'],
  ['x-envoy-upstream-service-time', 'Envoy'],
];

/** RFC 1035, with dots. */
const MAX_HOST_CHARACTERS = 253;
const HOST = /^(?:[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?|\[[0-9a-f:.]+\])$/;

/** The name that our table gives to what answered. Undefined if the answer names no product of the table. */
export function nameOfFront(headers: IncomingHttpHeaders): string | undefined {
  for (const [field, name] of MARKS) if (headers[field] !== undefined) return name;
  const server = nameOfProduct(String(headers.server ?? ''));
  if (server !== undefined) return server;
  for (const hop of (headers.via ?? '').split(',')) {
    const name = nameOfHop(hop);
    if (name !== undefined) return name;
  }
  return isOfGo(headers) ? 'Traefik or another program written in Go' : undefined;
}

/** `http://host/`: its path may be the request's own, with the ticket. Undefined if a browser could not open it. */
export function placeOfRedirect(location: string | undefined, requested: URL): URL | undefined {
  if (location === undefined) return undefined;
  const base = new URL(requested.href);
  base.protocol = requested.protocol === 'wss:' ? 'https:' : 'http:';
  const target = URL.canParse(location, base.href) ? new URL(location, base.href) : undefined;
  if (target === undefined || !/^https?:$/.test(target.protocol)) return undefined;
  const { hostname } = target;
  if (hostname.length > MAX_HOST_CHARACTERS || !HOST.test(hostname)) return undefined;
  return new URL(`${target.protocol}//${target.host}/`);
}

function nameOfProduct(text: string): string | undefined {
  const product = text.trim().toLowerCase();
  return PRODUCTS.find(([beginning]) => product.startsWith(beginning))?.[1];
}

/** RFC 9110 §7.6.3: `1.1 host (product)`; the host is a pseudonym, and often the product's name. */
function nameOfHop(hop: string): string | undefined {
  const [, host = '', comment = ''] = /^\s*\S{1,20}\s+([^\s(]{1,253})\s*(?:\(([^()]{0,200})\))?/.exec(hop) ?? [];
  return nameOfProduct(comment) ?? nameOfProduct(host);
}

/** Go's own "404 page not found", as Traefik answers while it knows no route; neither has a `Server`. */
function isOfGo(headers: IncomingHttpHeaders): boolean {
  return (
    headers.server === undefined &&
    headers['content-type'] === 'text/plain; charset=utf-8' &&
    headers['x-content-type-options'] === 'nosniff' &&
    headers['content-length'] === '19'
  );
}
