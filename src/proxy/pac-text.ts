/** The PAC file by which a browser or a system uses this proxy. Pure. */
import { formatHostPort, type HostPort } from '../net/host-port.ts';
import type { DirectRule } from './direct-rules.ts';

export interface PacWish {
  /** By which whoever asks reaches the proxy. */
  readonly address: HostPort;
  /** The proxy requires a user name and a password, which browsers cannot send by SOCKS. */
  readonly needsPassword: boolean;
  readonly direct: readonly DirectRule[];
}

/** What is said for everything that is not direct: never `DIRECT`, also not behind a proxy that does not answer. */
function pacResult({ address, needsPassword }: Pick<PacWish, 'address' | 'needsPassword'>): string {
  const at = formatHostPort(address);
  return needsPassword ? `PROXY ${at}` : `SOCKS5 ${at}; PROXY ${at}`;
}

/**
 * In the JavaScript of 1999, which every reader of such files has. It calls no function that resolves a name
 * (`dnsResolve`, `isInNet`, `isResolvable`): such a question would leave past the tunnel.
 */
export function pacText(wish: PacWish): string {
  const names = wish.direct.flatMap((rule) => (rule.kind === 'name' ? [[rule.name, rule.port ?? 0]] : []));
  const networks = wish.direct.flatMap((rule) =>
    rule.kind === 'network' ? [[[...rule.base], rule.bits, rule.port ?? 0]] : [],
  );
  return `// The proxy of wstun: everything goes through the tunnel, but what is listed here, and loopback.
var PROXY = ${JSON.stringify(pacResult(wish))};
// Names, with all below them, and ports; 0 is every port.
var NAMES = ${JSON.stringify([['localhost', 0], ...names])};
// Networks: bytes of the address, bits of the prefix, port.
var NETWORKS = ${JSON.stringify([[[127, 0, 0, 0], 8, 0], [[...new Array<number>(15).fill(0), 1], 128, 0], ...networks])};
${PAC_FUNCTIONS}`;
}

const PAC_FUNCTIONS = `
function FindProxyForURL(url, host) {
  host = host.toLowerCase().replace(/^\\[|\\]$/g, "").replace(/\\.$/, "");
  var port = portOf(url);
  var bytes = bytesOf(host);
  return (bytes ? isInNetworks(bytes, port) : isNamed(host, port)) ? "DIRECT" : PROXY;
}

function isNamed(host, port) {
  for (var i = 0; i < NAMES.length; i++) {
    var name = NAMES[i][0];
    if (NAMES[i][1] && NAMES[i][1] !== port) continue;
    if (host === name) return true;
    var at = host.length - name.length - 1;
    if (at > 0 && host.substring(at) === "." + name) return true;
  }
  return false;
}

function isInNetworks(bytes, port) {
  for (var i = 0; i < NETWORKS.length; i++) {
    if (NETWORKS[i][2] && NETWORKS[i][2] !== port) continue;
    if (isIn(bytes, NETWORKS[i][0], NETWORKS[i][1])) return true;
  }
  return false;
}

function isIn(bytes, base, bits) {
  if (bytes.length !== base.length) return false;
  for (var i = 0; i < bytes.length; i++) {
    var shift = 8 - Math.max(0, Math.min(8, bits - 8 * i));
    if (bytes[i] >> shift !== base[i] >> shift) return false;
  }
  return true;
}

function portOf(url) {
  var parts = /^([a-z][a-z0-9+.-]*):\\/\\/(?:[^\\/?#]*@)?(?:\\[[^\\]]*\\]|[^:\\/?#]*)(?::(\\d+))?/i.exec(url);
  if (!parts) return 0;
  if (parts[2]) return Number(parts[2]);
  return { http: 80, ws: 80, https: 443, wss: 443, ftp: 21 }[parts[1].toLowerCase()] || 0;
}

// Of an address in text; undefined for a name.
function bytesOf(host) {
  var quad = /^(\\d{1,3})\\.(\\d{1,3})\\.(\\d{1,3})\\.(\\d{1,3})$/.exec(host);
  if (quad) return [Number(quad[1]), Number(quad[2]), Number(quad[3]), Number(quad[4])];
  return host.indexOf(":") < 0 ? undefined : bytesOfGroups(host.replace(/%.*$/, ""));
}

function bytesOfGroups(text) {
  var quad = /^(.*:)(\\d+\\.\\d+\\.\\d+\\.\\d+)$/.exec(text);
  if (quad) {
    var last = bytesOf(quad[2]);
    if (!last) return undefined;
    text = quad[1] + (last[0] * 256 + last[1]).toString(16) + ":" + (last[2] * 256 + last[3]).toString(16);
  }
  var sides = text.split("::");
  var head = sides[0] ? sides[0].split(":") : [];
  var tail = sides[1] ? sides[1].split(":") : [];
  while (sides.length === 2 && head.length + tail.length < 8) head.push("0");
  var groups = head.concat(tail);
  if (groups.length !== 8) return undefined;
  var bytes = [];
  for (var i = 0; i < 8; i++) {
    var group = parseInt(groups[i], 16);
    bytes.push(group >> 8, group & 255);
  }
  return bytes;
}
`;
