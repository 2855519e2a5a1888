#!/usr/bin/env bash
# Finds the real programs that the end-to-end tests drive, and installs the missing ones where it may (root on Debian).
# Quick when all are there. Never fails: a test whose program is missing fails by itself, which is louder than a skip.
set -u
PATH=$PATH:/usr/sbin:/sbin:$HOME/.cargo/bin

# program (or absolute path, of any file) : Debian package
needs=(
  curl:curl
  git:git
  /usr/lib/git-core/git-http-backend:git
  ssh:openssh-client
  ssh-keygen:openssh-client
  sshd:openssh-server
  nginx:nginx
  /usr/lib/nginx/modules/ngx_stream_module.so:libnginx-mod-stream
  apache2:apache2
  svn:subversion
  svnadmin:subversion
  /usr/lib/apache2/modules/mod_dav_svn.so:libapache2-mod-svn
  lftp:lftp
  wget:wget
  aria2c:aria2
  python3:python3
  /usr/bin/python3:python3
  /usr/lib/python3/dist-packages/cryptography/__init__.py:python3-cryptography
  /usr/lib/python3/dist-packages/nacl/__init__.py:python3-nacl
  /usr/lib/python3/dist-packages/gssapi/__init__.py:python3-gssapi
  /usr/lib/python3/dist-packages/libtorrent.egg-info:python3-libtorrent
  haproxy:haproxy
  caddy:caddy
  squid:squid
  krb5kdc:krb5-kdc
  kadmin.local:krb5-admin-server
  kinit:krb5-user
  tinyproxy:tinyproxy-bin
  danted:dante-server
  socksify:dante-client
  drill:ldnsutils
  dig:bind9-dnsutils
  rsync:rsync
  faketime:faketime
  dig:bind9-dnsutils
  dnsmasq:dnsmasq-base
  getent:libc-bin
  tc:iproute2
  ncat:ncat
  nc.openbsd:netcat-openbsd
  chromium:chromium
  firefox-esr:firefox-esr
  tshark:tshark
  openssl:openssl
  mitmdump:mitmproxy
  setpriv:util-linux
  prlimit:util-linux
  script:bsdutils
  tmux:tmux
  ip:iproute2
  iptables:iptables
  ss:iproute2
  nft:nftables
  wireguard-go:wireguard-go
  wg:wireguard-tools
  iperf3:iperf3
  ping:iputils-ping
  dig:bind9-dnsutils
  systemd-analyze:systemd
  zsh:zsh
  fish:fish
  mandoc:mandoc
  pebble:pebble
  nats-server:nats-server
  promtool:prometheus
  prometheus:prometheus
)

missing() {
  local need
  for need in "${needs[@]}"; do
    command -v "${need%%:*}" >/dev/null || [ -e "${need%%:*}" ] || printf '%s\n' "$need"
  done
}

# No Debian package: taken from PATH, else built where cargo is. Elsewhere its tests are skipped, and say so.
tun2proxy_version=0.8.7
tun2proxy_root=node_modules/.cache/wstun-tun2proxy
if ! command -v tun2proxy-bin >/dev/null && [ ! -x "$tun2proxy_root/bin/tun2proxy-bin" ]; then
  if command -v cargo >/dev/null; then
    printf 'building for the tests: tun2proxy %s\n' "$tun2proxy_version"
    cargo_log=$(mktemp)
    timeout --kill-after=10 900 cargo install --quiet --locked --root "$tun2proxy_root" \
      tun2proxy --version "$tun2proxy_version" >"$cargo_log" 2>&1 || tail -n 20 "$cargo_log" >&2
    rm -f "$cargo_log"
  else
    printf '\n!!! no tun2proxy and no cargo: the tests of wstun vpn WILL BE SKIPPED\n\n' >&2
  fi
fi

lacking=$(missing)
[ -z "$lacking" ] && exit 0

if [ "$(id -u)" -eq 0 ] && [ -e /etc/debian_version ] && command -v apt-get >/dev/null; then
  mapfile -t packages < <(cut -d: -f2 <<<"$lacking" | sort -u)
  printf 'installing for the tests: %s\n' "${packages[*]}"
  # RUNLEVEL=1 keeps nginx, Apache, HAProxy and sshd from being started by their packages.
  export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
  apt_log=$(mktemp)
  limit() { timeout --kill-after=10 "$@" >>"$apt_log" 2>&1; }
  limit 120 apt-get update -q
  limit 600 apt-get install -qy --no-install-recommends "${packages[@]}" || tail -n 20 "$apt_log"
  rm -f "$apt_log"
  lacking=$(missing)
fi

if [ -n "$lacking" ]; then
  {
    printf '\n!!! missing programs: the end-to-end tests that need them WILL FAIL\n'
    sed -E 's/^([^:]*):(.*)$/!!!   \1 (Debian package \2)/' <<<"$lacking"
    printf '\n'
  } >&2
fi
exit 0
