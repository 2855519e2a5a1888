/**
 * What relay, client and exit check of single options when they start, by the option's name on the command line: so
 * that a file of settings can be checked without starting anything. Looks at no file and no network.
 */
import { parseDomains } from '../acme/domain.ts';
import { decodeInvite } from '../crypto/invite.ts';
import { WstunError } from '../errors.ts';
import { createResolver } from '../exit/resolver.ts';
import { parseForward } from '../forward/forward.ts';
import { parsePathPrefix } from '../relay/gate.ts';
import { TrustedProxies } from '../relay/proxies/trusted-proxies.ts';
import { parseSiteUrl } from '../relay/site/site-upstream.ts';
import { parseRemoteForward } from '../remote/remote-forward.ts';
import { createProxyChooser, createVia } from '../transport/proxy/proxy-choice.ts';
import { parseRelayUrls } from './public-url.ts';
import { requirePin, serverName } from './reach-options.ts';

/** Each throws a WstunError for a text that is rejected later, as that place does. */
export const VALUE_CHECKS: Readonly<Record<string, (text: string) => unknown>> = {
  invite: decodeInvite,
  proxy: (text) => createProxyChooser({ choice: text, source: '--proxy' }),
  via: (text) => createVia(text, '--via'),
  'tls-pin': requirePin,
  sni: serverName,
  'trust-proxy': (text) => new TrustedProxies([text]),
  url: (text) => parseRelayUrls([text]),
  path: (text) => parsePathPrefix(text.replace(/^(?!\/)/, '/')),
  decoy: (text) => (/^\w+:\/\//.test(text) ? parseSiteUrl(text) : undefined),
  dns: (text) => createResolver({ servers: [text] }),
  acme: (text) => parseDomains([text]),
  'local-forward': parseForward,
  'remote-forward': parseRemoteForward,
  header: (text) => {
    if (text.startsWith('@') || text.indexOf(':') >= 1) return;
    throw new WstunError('bad-option', "--header needs 'Name: value', or @FILE with one on each line");
  },
};
