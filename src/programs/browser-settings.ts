/**
 * How a browser is started so that all that it loads goes through the proxy, and no name is resolved and no packet sent
 * past it: arguments of Chromium, preferences of Firefox. Pure.
 */

import { formatHostPort, type HostPort } from '../net/host-port.ts';
import { parseIp } from '../net/ip.ts';
import type { BrowserFamily } from '../tether/browser/find-browser.ts';

export interface BrowserWish {
  readonly family: BrowserFamily;
  /** An absolute path, of a folder that nobody else can read. */
  readonly profile: string;
  readonly proxy: HostPort;
  /** Browsers have no password for SOCKS: if one is required they use HTTP, and ask for it. */
  readonly needsPassword: boolean;
  readonly url: string;
  /** Chromium's sandbox does not work for root. */
  readonly isRoot: boolean;
  /** Of the user, after ours. */
  readonly more: readonly string[];
}

/** What calls the browser's maker, or looks for devices in the local network, without being asked to. */
const QUIET_CHROMIUM = [
  '--no-first-run',
  '--no-default-browser-check',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-domain-reliability',
  '--disable-sync',
  '--disable-breakpad',
  '--metrics-recording-only',
  '--dns-prefetch-disable',
] as const;

/**
 * The last one hides this machine's addresses behind names, which a page can then have looked up in the local network
 * (mDNS). There is nothing to hide: without packets past the proxy, WebRTC has no such address.
 */
const DISABLED_FEATURES = [
  'MediaRouter',
  'DialMediaRouteProvider',
  'OptimizationHints',
  'NetworkTimeServiceQuerying',
  'WebRtcHideLocalIpsWithMdns',
] as const;
const DISABLE = '--disable-features=';

export function browserCommand(wish: BrowserWish): readonly string[] {
  const { family, profile, url, more } = wish;
  if (family === 'firefox') return ['--no-remote', '--profile', profile, ...more, url];
  return [
    `--user-data-dir=${profile}`,
    `--proxy-server=${wish.needsPassword ? 'http' : 'socks5'}://${formatHostPort(wish.proxy)}`,
    `--host-resolver-rules=${resolverRules(wish.proxy.host)}`,
    // HTTP/3 and WebRTC are UDP, which no proxy of ours carries.
    '--disable-quic',
    '--webrtc-ip-handling-policy=disable_non_proxied_udp',
    '--force-webrtc-ip-handling-policy=disable_non_proxied_udp',
    ...QUIET_CHROMIUM,
    ...(wish.isRoot ? ['--no-sandbox'] : []),
    ...withFeatures(more),
    url,
  ];
}

/** Of several such arguments Chromium reads only the last. */
function withFeatures(more: readonly string[]): readonly string[] {
  const given = more.filter((arg) => arg.startsWith(DISABLE)).map((arg) => arg.slice(DISABLE.length));
  const others = more.filter((arg) => !arg.startsWith(DISABLE));
  return [`${DISABLE}${[...DISABLED_FEATURES, ...given].join(',')}`, ...others];
}

/** Whatever would resolve a name without the proxy fails, but for this machine and the proxy itself. */
function resolverRules(proxyHost: string): string {
  const known = new Set(['localhost', '127.0.0.1', '::1', '[::1]', proxyHost]);
  return ['MAP * ~NOTFOUND', ...[...known].map((host) => `EXCLUDE ${host}`)].join(' , ');
}

/** `user.js` of Firefox, which holds at every start, also for a profile that is kept. */
export function firefoxPreferences({ proxy, needsPassword }: Pick<BrowserWish, 'proxy' | 'needsPassword'>): string {
  const { host, port } = proxy;
  const way = needsPassword
    ? {
        'network.proxy.http': host,
        'network.proxy.http_port': port,
        'network.proxy.ssl': host,
        'network.proxy.ssl_port': port,
      }
    : { 'network.proxy.socks': host, 'network.proxy.socks_port': port };
  // Of a proxy that has a name, that is looked up.
  const dns = { 'network.dns.disabled': parseIp(host) !== undefined };
  return Object.entries({ ...FIREFOX, ...way, ...dns })
    .map(([name, value]) => `user_pref(${JSON.stringify(name)}, ${JSON.stringify(value)});\n`)
    .join('');
}

const FIREFOX = {
  'network.proxy.type': 1,
  'network.proxy.socks_version': 5,
  'network.proxy.socks_remote_dns': true,
  'network.proxy.socks5_remote_dns': true,
  'network.proxy.no_proxies_on': '',
  // Where the proxy does not answer, its own requests would go past it.
  'network.proxy.failover_direct': false,
  'network.proxy.allow_bypass': false,
  'network.proxy.share_proxy_settings': false,
  // 5: no DNS over HTTPS, of which the provider would see every name.
  'network.trr.mode': 5,
  'network.dns.disablePrefetch': true,
  'network.dns.disablePrefetchFromHTTPS': true,
  'network.dns.echconfig.enabled': false,
  'network.predictor.enabled': false,
  'network.prefetch-next': false,
  'network.http.http3.enable': false,
  'network.webtransport.enabled': false,
  'network.captive-portal-service.enabled': false,
  'network.connectivity-service.enabled': false,
  'network.gio.supported-protocols': '',
  'network.file.disable_unc_paths': true,
  // WebRTC only through the proxy, or not at all. The last one also asks the local network for names, by mDNS.
  'media.peerconnection.ice.proxy_only': true,
  'media.peerconnection.ice.default_address_only': true,
  'media.peerconnection.ice.no_host': true,
  'media.peerconnection.ice.obfuscate_host_addresses': false,
  'app.normandy.enabled': false,
  'app.update.auto': false,
  'app.update.enabled': false,
  'app.shield.optoutstudies.enabled': false,
  'browser.aboutwelcome.enabled': false,
  'browser.newtabpage.activity-stream.feeds.telemetry': false,
  'browser.region.network.url': '',
  'browser.region.update.enabled': false,
  'browser.shell.checkDefaultBrowser': false,
  'datareporting.healthreport.uploadEnabled': false,
  'datareporting.policy.dataSubmissionEnabled': false,
  'dom.push.connection.enabled': false,
  'extensions.update.enabled': false,
  'toolkit.telemetry.enabled': false,
  'toolkit.telemetry.unified': false,
  'toolkit.telemetry.reportingpolicy.firstRun': false,
} as const;
