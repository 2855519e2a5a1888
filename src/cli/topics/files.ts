/** `wstun help files`. */
import { defaultStateDir } from '../../state/default-dir.ts';

export const files = (): string => `Files

State directories of this user. --state DIR or $WSTUN_STATE names another one:
  ${defaultStateDir('relay', process.env)}
  ${defaultStateDir('exit', process.env)}
  ${defaultStateDir('client', process.env)}

They have mode 0700. wstun rejects one to which others have any rights.

Of a relay or an exit:
  identity.key       its secret. Back it up: all invites depend on it
  access.toml        who may connect: public keys and rules. You may edit it
  limits.toml        other limits than the defaults, if you write it
  relay.toml         the public URL of a relay, for invites
  invites.toml       more URLs, and the pins of its TLS key
  tls-key.pem        the key of --tls-self-signed
  acme-account.key, acme-certificate.json
                     what --acme got from the certificate authority
  usage.json         the bytes that each name has used this month
  retired.json       replaced keys, to tell clients why an old invite fails
  used-tickets/      tickets of the last 26 hours, so that none opens twice

Of a client:
  invites/           the invites that it keeps, as secrets (wstun profiles)
  browsers/          profiles of \`wstun browser --keep\`
  networks.json      what carried links in which network, without its name

Of all that run: control/, a socket by which wstun status asks them.

Of the services in docs/systemd: /var/lib/wstun, /var/lib/wstun-exit.

Options that are not given (wstun help config): ~/.config/wstun/wstun.toml, or
/etc/wstun/wstun.toml.

Compiled code, which may be deleted at any time (Node 22.1 or newer):
  $XDG_CACHE_HOME/wstun, otherwise ~/.cache/wstun
`;
