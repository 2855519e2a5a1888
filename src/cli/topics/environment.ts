/** `wstun help environment`. */

export const environment = (): string => `Environment variables

Every option of a client, relay or exit has a variable: WSTUN_LISTEN for
--listen. An option goes before its variable, that before wstun.toml, and that
before the default (wstun help config). An empty variable counts as absent.

Secrets, which others could see in \`ps\` if they were options:
  WSTUN_INVITE         the invite of a client or an exit
  WSTUN_USER           --user of a client: NAME:PASS
  WSTUN_PROXY          --proxy, with a password
  WSTUN_VIA            --via, with a password
  WSTUN_HEADERS        --header, one header field on each line
  WSTUN_ACME_EAB       --acme-eab: ID:KEY

Where files are (wstun help files):
  WSTUN_STATE          --state
  WSTUN_CONFIG         --config
  XDG_STATE_HOME, XDG_CONFIG_HOME, XDG_CACHE_HOME
                       in place of ~/.local/state, ~/.config, ~/.cache

The way to the relay, of a client or an exit (wstun help proxies):
  https_proxy, http_proxy, all_proxy, no_proxy
                       the proxy of this network; also in capitals,
                       but not HTTP_PROXY
  NODE_EXTRA_CA_CERTS  a PEM file with more certificate authorities
  SSL_CERT_FILE        the authorities of the system, in place of its own file

Output:
  NO_COLOR             not empty: no colours
  FORCE_COLOR          not empty, and not 0: colours, also without a terminal

By systemd:
  LISTEN_FDS, LISTEN_PID
                       sockets that are passed to a relay (socket activation)

By Node:
  NODE_DISABLE_COMPILE_CACHE=1
                       keep no compiled code in the cache directory
`;
