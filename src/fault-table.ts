/**
 * Every way in which wstun can fail, in one table: a class (which decides the exit code), a stable code for people and
 * search engines, a wire code where a peer can be told, one sentence, and what to do next.
 *
 * Only errors.ts imports it. Codes are never reused: a fault that goes away leaves its number empty. docs/errors.md
 * lists them all, and a test holds the two together.
 */

/** Decides the process's exit code when the fault ends it (sysexits.h where it has one). */
export type FaultClass = 'usage' | 'config' | 'access' | 'network' | 'protocol' | 'dial' | 'proxy' | 'internal';

export const EXIT_CODE: Readonly<Record<FaultClass, number>> = {
  usage: 2,
  config: 78,
  access: 77,
  network: 69,
  protocol: 76,
  dial: 69,
  proxy: 1,
  internal: 1,
};

export interface Fault {
  readonly class: FaultClass;
  /** `WSTUN-E` and three digits; the first digit groups: 1 set-up, 2 link, 3 dial, 4 session, 5 proxy, 9 internal. */
  readonly code: `WSTUN-E${number}`;
  /** Its code in open-failed, reset and go-away frames (docs/protocol.md, "Codes"); 1..65535. */
  readonly wire?: number;
  /** What happened, without a full stop. */
  readonly sentence: string;
  /** What to do next, a whole sentence; empty where there is nothing that the reader could do. */
  readonly fix: string;
}

/** What a reader can rely on, in the words of every fault that it goes for. */
const RECONNECTS = 'wstun reconnects automatically.';
const NEW_SESSION = 'wstun starts a new session automatically.';
const REPORT = 'If both ends run the same version of wstun, please report it.';

function fault(group: FaultClass, code: Fault['code'], sentence: string, { fix = '' } = {}): Omit<Fault, 'wire'> {
  return { class: group, code, sentence, fix };
}

/** The type says that a peer can be told of it. */
function wireFault(
  group: FaultClass,
  code: Fault['code'],
  wire: number,
  sentence: string,
  more: Partial<Pick<Fault, 'fix'>> = {},
): Required<Fault> {
  return { ...fault(group, code, sentence, more), wire };
}

export const FAULTS = {
  // 1: set-up
  'bad-option': fault('usage', 'WSTUN-E101', 'an option or argument is not valid'),
  'bad-address': fault('usage', 'WSTUN-E102', 'this is not an address to listen on', {
    fix: 'Write HOST:PORT, with an IPv6 host in brackets: 127.0.0.1:1080 or [::1]:1080.',
  }),
  'open-to-network': fault('usage', 'WSTUN-E103', 'this address would be open to other machines', {
    fix: 'Add --user NAME:PASS, or --allow-lan if everyone who can reach the address may use the proxy.',
  }),
  'cannot-listen': fault('network', 'WSTUN-E104', 'wstun cannot listen on this address', {
    fix: 'Stop the program that uses the port, or choose another address: --listen HOST:PORT.',
  }),
  'invite-malformed': fault('usage', 'WSTUN-E105', 'this is not a wstun invite', {
    fix: 'An invite begins with "wstun1_". Copy the whole line again, or ask for a new invite.',
  }),
  'invite-incomplete': fault('usage', 'WSTUN-E106', 'the invite is incomplete', {
    fix: 'Copy the whole line and paste it again.',
  }),
  'invite-mistyped': fault('usage', 'WSTUN-E107', 'the invite does not match its checksum', {
    fix: 'A character was changed or is missing. Copy the whole invite again.',
  }),
  'invite-missing': fault('usage', 'WSTUN-E108', 'no invite was given', {
    fix: "Pass it as an argument, with --invite-file FILE, or in $WSTUN_INVITE. The relay's owner creates one with: wstun access add NAME. For an exit, add --role exit.",
  }),
  'bad-rule': fault('usage', 'WSTUN-E109', 'this rule is not valid', {
    fix: 'Write CIDR, IP, name or *.name, and :ports to allow only some: 10.0.0.0/8:22,80, [fd00::/8]:443, *.corp.example:8000-8999, or * for everything.',
  }),
  'bad-url': fault('usage', 'WSTUN-E110', 'this is not the URL of a relay', {
    fix: 'Write wss://HOST/PATH, or ws://HOST:PORT for a relay without TLS.',
  }),
  'state-unusable': fault('config', 'WSTUN-E111', 'the state directory cannot be used', {
    fix: 'Correct its owner and permissions, or give another one: --state DIR.',
  }),
  'identity-damaged': fault('config', 'WSTUN-E112', 'the identity file is damaged', {
    fix: 'Restore it from a backup, or delete it to get new keys: every existing invite then stops working.',
  }),
  'access-malformed': fault('config', 'WSTUN-E113', 'the access list cannot be read', {
    fix: 'Correct the file. A running relay or exit uses the last valid list until then.',
  }),
  'name-taken': fault('usage', 'WSTUN-E114', 'the access list already contains this name', {
    fix: 'To change what it may do: wstun access set NAME. To get a new invite: wstun access renew NAME. Or choose another name.',
  }),
  'name-unknown': fault('usage', 'WSTUN-E115', 'the access list does not contain this name', {
    fix: 'List the names with: wstun access list.',
  }),
  'bad-name': fault('usage', 'WSTUN-E116', 'this name is not valid', {
    fix: 'Use 1 to 63 letters, digits, dots, dashes or underscores. The first must be a letter or a digit.',
  }),
  'bad-certificate': fault('config', 'WSTUN-E117', 'the TLS certificate or key cannot be used', {
    fix: 'Give both --tls-cert and --tls-key, PEM files that belong together.',
  }),
  'bad-credentials': fault('usage', 'WSTUN-E118', 'this is not a user name and password', {
    fix: 'Write NAME:PASS, each 1 to 255 bytes.',
  }),
  'bad-key': fault('usage', 'WSTUN-E119', 'this is not a public key', {
    fix: 'A public key begins with "wstunpk1_". Copy the whole key again.',
  }),
  'encryption-needed': fault('usage', 'WSTUN-E120', 'encryption cannot be off here', {
    fix: 'Use --encryption on. Off is possible only over wss:// to the exit built into the relay, without --tether and --via-browser.',
  }),
  'interfaces-hidden': fault('config', 'WSTUN-E121', 'the network addresses of this machine cannot be listed', {
    fix: 'A sandbox may hide them. With systemd, add AF_NETLINK to RestrictAddressFamilies.',
  }),
  'limits-malformed': fault('config', 'WSTUN-E122', 'the limits cannot be read', {
    fix: 'Correct limits.toml. docs/limits.md lists its settings.',
  }),
  'bad-passed-socket': fault(
    'config',
    'WSTUN-E123',
    'the listening sockets that were passed to this process cannot be used',
    {
      fix: 'LISTEN_FDS must be the number of TCP sockets, from descriptor 3 on. With systemd: ListenStream= with a port, and Accept=no.',
    },
  ),
  'no-lan-address': fault('config', 'WSTUN-E124', 'this machine has no address on a local network', {
    fix: "Join the phone's Wi-Fi or hotspot: the code then appears. Or give the address: --tether HOST:PORT.",
  }),
  'two-invites': fault('usage', 'WSTUN-E125', 'this text contains two different invites', {
    fix: 'Give only one of them.',
  }),
  'invite-for-exit': fault('usage', 'WSTUN-E126', 'this invite is for an exit', {
    fix: "Use it on the exit's machine, with: wstun exit. Invites for clients are then created there, with: wstun access add NAME.",
  }),
  'invite-for-client': fault('usage', 'WSTUN-E127', 'this invite is for a client', {
    fix: "Use it with: wstun client. The relay's owner creates an invite for an exit with: wstun access add NAME --role exit.",
  }),
  'state-ambiguous': fault('usage', 'WSTUN-E128', 'this machine has more than one state directory', {
    fix: 'Choose one: --state DIR.',
  }),
  'state-missing': fault('config', 'WSTUN-E129', 'no state of a relay or an exit was found for this user', {
    fix: 'Start one once (wstun relay, wstun exit), or give its directory: --state DIR.',
  }),
  'not-confirmed': fault('usage', 'WSTUN-E130', 'nothing was changed, because the change was not confirmed', {
    fix: 'Answer y, or add --yes.',
  }),
  'bad-proxy': fault('usage', 'WSTUN-E136', 'this is not a proxy', {
    fix: 'Write http://HOST:PORT, or https, socks4, socks4a, socks5 or socks5h; pac+https://HOST/FILE or pac+file:/PATH; env, or none.',
  }),
  'out-of-descriptors': fault(
    'network',
    'WSTUN-E135',
    'this process has no file descriptors left for more connections',
    {
      fix: 'Raise its limit: LimitNOFILE= in a systemd unit, --ulimit nofile= for docker run, or ulimit -n in a shell.',
    },
  ),
  'browser-missing': fault('config', 'WSTUN-E141', 'no browser was found that could carry the links', {
    fix: 'Install Chromium, Chrome, Edge or Firefox, or give its program: --via-browser=/path/to/browser. To use the default browser: --via-browser=open.',
  }),
  'browser-failed': fault('config', 'WSTUN-E142', 'the browser ended', {
    fix: 'wstun starts it again. If this continues, see what it prints: wstun client -v. To use the default browser: --via-browser=open.',
  }),
  'browser-silent': fault('network', 'WSTUN-E143', 'the browser was started, but does not open the page of wstun', {
    fix: 'A policy may forbid it files (file://) or this machine (127.0.0.1). wstun tries again. To use the default browser: --via-browser=open.',
  }),
  'browser-not-opened': fault('config', 'WSTUN-E144', 'the default browser has no page of wstun open', {
    fix: 'Press Enter to open it again, or let wstun start a browser without a window: --via-browser=/path/to/browser.',
  }),
  'bad-cluster': fault('usage', 'WSTUN-E145', 'this is not a cluster', {
    fix: 'Write nats://HOST:PORT, or tls://HOST:PORT for TLS; several servers are separated by commas.',
  }),
  'cluster-file-unusable': fault('config', 'WSTUN-E146', 'a file for the cluster cannot be read', {
    fix: 'Correct the path or the permissions of the file of --cluster-creds or --cluster-ca.',
  }),
  'workers-lost': fault('network', 'WSTUN-E147', 'all workers of this relay have died', {
    fix: 'The log lines before it say how. Whoever passed its sockets to it must start it again: Restart=always.',
  }),
  'bad-domain': fault('usage', 'WSTUN-E150', 'a certificate for this name cannot be requested', {
    fix: 'Give --acme a public DNS name that leads to this relay, such as relay.example.org.',
  }),
  'acme-unreachable': fault('network', 'WSTUN-E151', 'the certificate authority cannot be reached', {
    fix: 'Check --acme-directory, and that this machine may connect there. For a private authority: --acme-ca FILE. wstun tries again automatically.',
  }),
  'acme-port-closed': fault('network', 'WSTUN-E152', 'the certificate authority could not connect to this relay', {
    fix: 'Let connections from the internet through to port 443 of the name, or to port 80 with --acme-http 0.0.0.0:80. wstun tries again automatically.',
  }),
  'acme-name-elsewhere': fault(
    'network',
    'WSTUN-E153',
    'the certificate authority did not find this relay by its name',
    {
      fix: 'Let the DNS records of the name (A, AAAA) lead to this machine, without a proxy that ends TLS in between. wstun tries again automatically.',
    },
  ),
  'acme-caa-forbids': fault(
    'config',
    'WSTUN-E154',
    'a CAA record in the DNS forbids this certificate authority for the name',
    { fix: 'Change the record, or choose an authority that it permits: --acme-directory URL.' },
  ),
  'acme-rate-limited': fault('network', 'WSTUN-E155', 'the certificate authority limits how often it is asked', {
    fix: 'wstun tries again when the authority permits it. Do not delete the state directory: it has the certificate.',
  }),
  'acme-rejected': fault('network', 'WSTUN-E156', 'the certificate authority did not issue the certificate', {
    fix: 'Its reason says what to change. wstun tries again automatically.',
  }),
  'help-unknown': fault('usage', 'WSTUN-E157', 'there is no help about this', {
    fix: 'See all commands and topics: wstun help.',
  }),
  'code-unknown': fault('usage', 'WSTUN-E158', 'wstun has no error with this code or name', {
    fix: 'See all of them: wstun explain --list.',
  }),
  'not-running': fault('network', 'WSTUN-E170', 'no wstun of this user runs here that could be asked', {
    fix: 'Start a client with: wstun client INVITE. For a relay or an exit with a state directory of its own, add: --state DIR.',
  }),
  'control-failed': fault('network', 'WSTUN-E171', 'a running wstun could not be asked', {
    fix: 'Try again. If this continues, restart it.',
  }),
  'control-request': fault('usage', 'WSTUN-E172', 'the running wstun does not understand the request', {
    fix: 'Another version of wstun may run. docs/control.md lists the requests.',
  }),
  'ping-lost': fault('network', 'WSTUN-E173', 'no answer came back in time'),
  'control-refused': fault('network', 'WSTUN-E174', 'the running wstun could not do it'),
  'resolver-silent': fault('network', 'WSTUN-E175', 'the name servers of this machine give no answer for the relay', {
    fix: 'Check that this machine is connected to a network, or set another name server. Without one: --connect-to ADDRESS:PORT with the address of the relay, or a proxy that resolves names.',
  }),
  'resolver-lies': fault('network', 'WSTUN-E176', 'the name server gives an address at which the relay is not', {
    fix: 'If the network requires a login, open any http:// page in a browser. Else use another name server, or give the address of the relay: --connect-to ADDRESS:PORT.',
  }),
  'bad-direct-rule': fault('usage', 'WSTUN-E180', 'this rule for hosts that go direct is not valid', {
    fix: 'Write NAME (which includes all names below it), IP or CIDR, and :PORT for one port only: --pac-direct corp.example,10.0.0.0/8,[fd00::/8]:443.',
  }),
  'proxy-absent': fault('network', 'WSTUN-E181', 'no client of wstun listens there', {
    fix: 'Start it with: wstun client. Or give the address of its proxy: --listen HOST:PORT.',
  }),
  'proxy-foreign': fault('network', 'WSTUN-E182', 'what listens there is not the proxy of a wstun client', {
    fix: 'Give the address of the proxy: --listen HOST:PORT.',
  }),
  'proxy-password-unknown': fault('usage', 'WSTUN-E183', 'the client’s proxy requires a user name and a password', {
    fix: 'Give those of wstun client: $WSTUN_USER, which is invisible in ps, or --user NAME:PASS.',
  }),
  'program-missing': fault('usage', 'WSTUN-E184', 'there is no such program', {
    fix: 'Check its name, and that its folder is in $PATH.',
  }),
  'program-not-started': fault('config', 'WSTUN-E185', 'the program cannot be started', {
    fix: 'Check that this user may run it, and that it is built for this system.',
  }),
  'own-client-late': fault(
    'network',
    'WSTUN-E186',
    'the client that was started for this program is not connected yet',
    {
      fix: 'Try again, or start a client first, which keeps trying and says why: wstun client.',
    },
  ),
  'browser-absent': fault('config', 'WSTUN-E187', 'no browser was found', {
    fix: 'Install Chromium, Chrome, Edge, Brave or Firefox, or give its program: --browser=/path/to/browser.',
  }),
  'browser-broken': fault('config', 'WSTUN-E188', 'the browser ended as soon as it was started', {
    fix: 'To see what it prints: wstun browser -v. In a container without user namespaces Chromium needs --browser-arg=--no-sandbox.',
  }),
  'profile-unknown': fault('usage', 'WSTUN-E160', 'no invite is kept under this name', {
    fix: 'List the names with: wstun profiles. To keep an invite under a name: wstun client INVITE --as NAME.',
  }),
  'profile-unusable': fault('config', 'WSTUN-E161', 'the kept invite cannot be used', {
    fix: 'Give the invite again, or remove it with: wstun forget NAME.',
  }),
  'profile-ambiguous': fault('usage', 'WSTUN-E162', 'several invites are kept, and none of them is named default'),
  'profile-taken': fault('usage', 'WSTUN-E163', 'the invite of another relay or exit is kept under this name', {
    fix: 'Choose another name: --as NAME. To replace the kept invite, add --yes.',
  }),
  'profiles-full': fault('usage', 'WSTUN-E164', 'too many invites are kept'),
  'file-exists': fault('usage', 'WSTUN-E165', 'this file already exists, and is not overwritten'),
  'out-unusable': fault('config', 'WSTUN-E166', 'the file for the invite cannot be written'),
  'config-unusable': fault('config', 'WSTUN-E190', 'the configuration file cannot be used', {
    fix: 'Give another one: --config FILE; or none: --config none.',
  }),
  'config-malformed': fault('config', 'WSTUN-E191', 'the configuration file has a mistake', {
    fix: 'To see all of them: wstun config check. docs/config.md lists the keys.',
  }),
  'config-exposed': fault('config', 'WSTUN-E192', 'other users have access to the configuration file'),
  'bad-variable': fault('usage', 'WSTUN-E193', 'a variable of the environment is not valid'),
  'transparent-unsupported': fault('config', 'WSTUN-E194', 'transparent proxies are not possible here', {
    fix: 'Install wstun with npm, whose packages have koffi; the single file has not. docs/whole-machine.md has what else is needed.',
  }),
  'transparent-not-permitted': fault('config', 'WSTUN-E195', 'wstun may not open a transparent socket', {
    fix: 'Start it as root, or with CAP_NET_ADMIN: AmbientCapabilities=CAP_NET_ADMIN in a systemd unit.',
  }),
  'vpn-not-permitted': fault(
    'usage',
    'WSTUN-E196',
    'wstun vpn changes the routes of this machine, for which it needs root',
    {
      fix: 'Start it as root: sudo wstun vpn.',
    },
  ),
  'vpn-program-missing': fault('config', 'WSTUN-E197', 'a program that wstun vpn needs is missing', {
    fix: 'Install tun2proxy (cargo install tun2proxy, or github.com/tun2proxy/tun2proxy/releases), and ip (Debian: iproute2).',
  }),
  'vpn-running': fault('usage', 'WSTUN-E198', 'wstun vpn is running on this machine already', {
    fix: 'End that one first, with Ctrl-C or SIGTERM.',
  }),
  'vpn-failed': fault('config', 'WSTUN-E199', 'the routes of this machine could not be changed', {
    fix: 'What had been changed was undone. If the device is busy, one was killed that had another state directory: run wstun vpn --restore with that.',
  }),
  // 2: link
  'relay-unreachable': fault('network', 'WSTUN-E201', 'the relay cannot be reached', {
    fix: 'Check its address, that it is running, and that this network allows the connection.',
  }),
  'relay-refused': fault('access', 'WSTUN-E202', 'the address of the relay answered "not found"', {
    fix: `The invite may be revoked, or a web server or filter may have answered instead of the relay. ${RECONNECTS} If this continues for hours, ask the owner of the relay or exit for a new invite.`,
  }),
  'relay-untrusted': fault('network', 'WSTUN-E203', "the relay's TLS certificate is not trusted", {
    fix: "If the owner of the relay confirms the pin, give it: --tls-pin sha256/…; or give a file with the certificate of the relay's authority: --tls-ca FILE. Otherwise do not continue.",
  }),
  'relay-odd-answer': fault('network', 'WSTUN-E204', 'something other than a relay answered', {
    fix: `It may be a captive portal, a filter, or a reverse proxy that does not pass WebSockets on. Open the address in a browser. ${RECONNECTS}`,
  }),
  'link-lost': wireFault('network', 'WSTUN-E205', 12, 'the link to the relay was lost', { fix: RECONNECTS }),
  'link-slow': fault('network', 'WSTUN-E206', 'the relay did not answer in time', {
    fix: `${RECONNECTS} If this continues, a filter may be blocking WebSockets.`,
  }),
  'access-removed': wireFault('access', 'WSTUN-E207', 11, 'this invite was revoked', {
    fix: 'Ask the owner of the relay or exit for a new one.',
  }),
  'shutting-down': wireFault('network', 'WSTUN-E208', 10, 'the other end is shutting down', { fix: RECONNECTS }),
  'not-connected': wireFault('network', 'WSTUN-E209', 13, 'there is no link to the relay at the moment', {
    fix: `${RECONNECTS} Try again soon.`,
  }),
  'bad-upgrade': fault('protocol', 'WSTUN-E210', 'the peer did not complete its WebSocket upgrade'),
  'handshake-failed': fault('network', 'WSTUN-E211', 'mutual authentication failed', {
    fix: 'The invite may be revoked, or the keys of the exit may have changed: ask for a new invite. If that fails too, something on the way may alter the data.',
  }),
  'exit-absent': wireFault('network', 'WSTUN-E212', 14, 'the exit of this invite is not connected to the relay', {
    fix: `${RECONNECTS} If this continues, the owner of the exit must start it: wstun exit.`,
  }),
  'exit-replaced': fault('network', 'WSTUN-E213', 'another exit has registered under the same name', {
    fix: 'This exit waits until the name is free. To run both, give each its own name: wstun access add NAME --role exit.',
  }),
  'too-many-sessions': wireFault(
    'network',
    'WSTUN-E214',
    16,
    'this invite has reached its maximum number of sessions',
    {
      fix: `${RECONNECTS} End another client that uses this invite, or ask the owner of the exit for more: wstun access set NAME --sessions N.`,
    },
  ),
  'keys-rotated': wireFault('access', 'WSTUN-E215', 17, 'this invite is older than the keys of its relay or exit', {
    fix: 'Ask the owner of the relay or exit for a new invite: wstun access renew NAME.',
  }),
  overloaded: wireFault(
    'network',
    'WSTUN-E216',
    18,
    'the other end is short of memory or of links, and accepts no new sessions at the moment',
    { fix: `${RECONNECTS} If this continues, its owner can raise "memory" or "links" in limits.toml.` },
  ),
  'too-many-links': wireFault('network', 'WSTUN-E226', 19, 'this session has reached its maximum number of links', {
    fix: 'It goes on with the links that it has.',
  }),
  'phone-offline': fault('network', 'WSTUN-E217', 'the phone cannot reach the relay', {
    fix: `Switch on its mobile data. If it is on, the relay may be down: a browser is not told why. ${RECONNECTS}`,
  }),
  'phone-refused': fault('network', 'WSTUN-E218', 'the phone could not open a link to the relay', {
    fix: `The invite may be revoked, or the mobile network may block WebSockets. ${RECONNECTS}`,
  }),
  'browser-offline': fault('network', 'WSTUN-E231', 'the browser cannot reach the relay', {
    fix: `A login page, or a proxy that asks for a password, may be in the way, and a browser without a window cannot answer: use --via-browser=open. ${RECONNECTS}`,
  }),
  'browser-refused': fault('network', 'WSTUN-E232', 'the browser could not open a link to the relay', {
    fix: `The invite may be revoked, or something on this network may block WebSockets or answer in place of the relay. ${RECONNECTS}`,
  }),
  'upgrade-dropped': fault(
    'network',
    'WSTUN-E219',
    'the relay knows this invite, but something in front of it drops the WebSocket upgrade',
    {
      fix: `Let the web server or proxy in front of the relay pass upgrades on: docs/operations.md shows how for nginx, Apache and HAProxy. ${RECONNECTS}`,
    },
  ),
  'wrong-path': fault(
    'network',
    'WSTUN-E220',
    'the relay knows this invite, but received the request under a path other than its --path',
    {
      fix: `Change --path, or the path that the web server in front of the relay passes on: the relay's log shows both. ${RECONNECTS}`,
    },
  ),
  'clock-off': fault('network', 'WSTUN-E221', 'the clocks of this machine and of the relay differ too much', {
    fix: `Correct the wrong clock. Until then, wstun uses the relay's time. ${RECONNECTS}`,
  }),
  'relay-full': fault('network', 'WSTUN-E222', 'the relay has reached its maximum number of links', {
    fix: `${RECONNECTS} The owner of the relay can raise "links" in limits.toml.`,
  }),
  'too-often': fault('network', 'WSTUN-E223', 'this invite opens links at the relay too often', {
    fix: `${RECONNECTS} If this continues, many clients share the invite, or a network drops every link. Give each client its own invite.`,
  }),
  'http-link-unknown': fault(
    'network',
    'WSTUN-E261',
    'the relay knows this invite, but its version of wstun knows no HTTP links',
    { fix: `Update the relay, or let WebSockets pass to it. ${RECONNECTS}` },
  ),
  'exit-running': fault('network', 'WSTUN-E225', 'an exit is already running with this state directory', {
    fix: 'Stop it first, or give this exit its own directory: --state DIR.',
  }),
  'tls-inspected': fault('network', 'WSTUN-E241', 'something on this network inspects TLS', {
    fix: 'It cannot read your data, which only the exit can open, but it would see when and how much is sent. If you accept that, give a file with its CA: --tls-ca FILE, or the pin of its key: --tls-pin sha256/….',
  }),
  'relay-other-name': fault('network', 'WSTUN-E242', "the relay's TLS certificate is for another name", {
    fix: 'The owner of the relay must get a certificate for the name in its URL, or give that URL to the relay: wstun relay --url wss://NAME.',
  }),
  'relay-out-of-date': fault('network', 'WSTUN-E243', "the relay's TLS certificate is not valid at this time", {
    fix: 'If the clock of this machine is right, the owner of the relay must renew the certificate.',
  }),
  'relay-other-key': fault('network', 'WSTUN-E244', "the relay's TLS key is none of those given with --tls-pin", {
    fix: 'Ask the owner of the relay for the pin of its key. Otherwise do not continue.',
  }),
  'tls-refused': fault('network', 'WSTUN-E245', 'the server ended the TLS handshake', {
    fix: 'If it demands a certificate, give one: --tls-cert FILE --tls-key FILE. If it does not know the name, give another one: --sni NAME.',
  }),
  // 25x: the proxy between this machine and the relay
  'proxy-unreachable': fault('network', 'WSTUN-E250', 'the proxy cannot be reached', {
    fix: `Check --proxy, or the environment variable that names the proxy. ${RECONNECTS}`,
  }),
  'proxy-credentials-needed': fault('network', 'WSTUN-E251', 'the proxy asks for credentials', {
    fix: 'Give a user name and a password with --proxy-auth-file FILE, or the answer to another scheme with --proxy-auth-command CMD.',
  }),
  'proxy-wrong-password': fault('network', 'WSTUN-E252', 'the proxy rejects the user name or the password', {
    fix: 'Correct them: wstun tries a changed --proxy-auth-file at once, and the same credentials only seldom, so that the account is not locked.',
  }),
  'proxy-forbids': fault('network', 'WSTUN-E253', 'the proxy does not allow this connection', {
    fix: `Ask whoever runs the proxy to allow the host and port of the relay. ${RECONNECTS}`,
  }),
  'proxy-cannot-connect': fault('network', 'WSTUN-E254', 'the proxy could not connect to the relay', {
    fix: `Check that the relay is running. ${RECONNECTS}`,
  }),
  'proxy-odd-answer': fault('network', 'WSTUN-E255', 'this does not answer as the proxy that it should be', {
    fix: 'Check the scheme, host and port of the proxy: http, https, socks4, socks4a, socks5 or socks5h.',
  }),
  'proxy-untrusted': fault('network', 'WSTUN-E256', "the proxy's TLS certificate is not trusted", {
    fix: 'Give a file with the CA of the proxy: --tls-ca FILE. For a proxy that is reached without TLS, write http:// in place of https://.',
  }),
  'proxy-slow': fault('network', 'WSTUN-E257', 'the proxy did not answer in time', { fix: RECONNECTS }),
  'pac-unusable': fault('network', 'WSTUN-E258', 'the PAC file cannot be used', {
    fix: `Check its address and its content, or name the proxy itself: --proxy http://HOST:PORT. ${RECONNECTS}`,
  }),
  'proxy-command-failed': fault('network', 'WSTUN-E259', 'the command of --proxy-auth-command failed', {
    fix: 'Run it by hand: it must print the value of Proxy-Authorization, one line, within 10 s.',
  }),
  'proxy-file-unusable': fault('config', 'WSTUN-E260', 'the file of --proxy-auth-file cannot be used', {
    fix: 'It must be one line, user:password, in a file that only its owner can read: chmod 600 FILE.',
  }),
  // 27x: routes to the relay
  'login-required': fault('network', 'WSTUN-E270', 'this network answers in place of the relay and leads to a page', {
    fix: `Open the page in a browser: the network may require a login. ${RECONNECTS}`,
  }),
  'vpn-ended': fault('network', 'WSTUN-E271', 'the program that wstun vpn runs has ended', {
    fix: 'The routes are as they were before. Start wstun vpn again; with -v it shows what that program says.',
  }),
  'vpn-loop': fault('config', 'WSTUN-E272', 'the way to the relay leads into the tunnel itself', {
    fix: 'Another program has changed the routing rules: ip rule shows them. End other VPNs, and start wstun vpn again.',
  }),
  'cluster-away': fault('network', 'WSTUN-E280', 'the cluster cannot be asked', {
    fix: 'Check that nats-server runs, and that this machine may connect to it. A running relay tries again automatically.',
  }),
  'cluster-refused': fault(
    'network',
    'WSTUN-E281',
    'the NATS server does not accept the login, or does not allow it this',
    {
      fix: 'Check --cluster-creds, or the login in the URL, and its permissions: docs/scaling.md lists what wstun needs.',
    },
  ),
  'cluster-no-jetstream': fault('network', 'WSTUN-E282', 'the NATS server has no JetStream', {
    fix: 'Start it with -js, or with jetstream { } in its configuration.',
  }),
  // 3: dial
  'dial-refused': wireFault('dial', 'WSTUN-E301', 32, 'the target refused the connection', {
    fix: 'Check that a program listens on that port.',
  }),
  'dial-host-unreachable': wireFault('dial', 'WSTUN-E302', 33, 'the target cannot be reached from the exit', {
    fix: 'Check the address, and that the target is running.',
  }),
  'dial-network-unreachable': wireFault('dial', 'WSTUN-E303', 34, 'the exit has no network route to the target', {
    fix: 'The exit may lack IPv6.',
  }),
  'dial-not-allowed': wireFault('dial', 'WSTUN-E304', 35, 'the exit does not allow this target', {
    fix: 'By default, only public addresses are allowed. The owner of the exit allows more with: wstun access set NAME --allow RULE.',
  }),
  'dial-timed-out': wireFault('dial', 'WSTUN-E305', 36, 'the target did not answer in time', {
    fix: 'Check that it is running, and that no firewall blocks it.',
  }),
  'dial-name-unknown': wireFault('dial', 'WSTUN-E306', 37, 'the name of the target does not exist', {
    fix: 'Check its spelling.',
  }),
  'dial-name-failed': wireFault('dial', 'WSTUN-E307', 38, 'the exit could not resolve the name of the target', {
    fix: "Try again. If this continues, check the exit's name server.",
  }),
  'dial-bad-target': wireFault('dial', 'WSTUN-E308', 39, "the target's name or address is not valid", {
    fix: 'Use a name of letters, digits and dashes, or an IP address.',
  }),
  'dial-busy': wireFault('dial', 'WSTUN-E309', 40, 'the exit accepts no more streams at the moment', {
    fix: 'Close some connections, or try again later.',
  }),
  'dial-failed': wireFault('dial', 'WSTUN-E310', 41, 'the exit could not connect to the target', { fix: 'Try again.' }),
  'target-reset': wireFault('dial', 'WSTUN-E311', 42, 'the connection was reset'),
  'dial-cancelled': wireFault('dial', 'WSTUN-E312', 43, 'the connection was cancelled'),
  'quota-used': wireFault('dial', 'WSTUN-E313', 44, 'this invite has used its bytes for this month', {
    fix: 'Wait for the next month (UTC), or ask the owner of the exit for more: wstun access set NAME --quota BYTES.',
  }),
  'service-unknown': wireFault('dial', 'WSTUN-E314', 45, 'the other end runs a wstun that is too old for this', {
    fix: 'Update wstun at the relay, or at the exit if the invite names one.',
  }),
  'listen-not-allowed': wireFault('dial', 'WSTUN-E315', 46, 'the exit does not allow this invite to listen there', {
    fix: 'Ask the owner of the exit: wstun access set NAME --listen ADDRESS:PORTS.',
  }),
  'listen-in-use': wireFault('dial', 'WSTUN-E316', 47, 'something else already listens there at the exit', {
    fix: 'Choose another port, or end the other one.',
  }),
  'listen-failed': wireFault('dial', 'WSTUN-E317', 48, 'the exit cannot listen there', {
    fix: 'Choose an address that the machine of the exit has.',
  }),
  // 4: session
  'bad-frame': wireFault('protocol', 'WSTUN-E401', 1, 'the peer sent a malformed frame', { fix: REPORT }),
  'bad-version': wireFault('protocol', 'WSTUN-E402', 2, 'the peer uses another version of the protocol', {
    fix: 'Install the same version of wstun at both ends.',
  }),
  'bad-stream-id': wireFault('protocol', 'WSTUN-E403', 3, 'the peer used a stream id that it must not use', {
    fix: REPORT,
  }),
  'window-exceeded': wireFault('protocol', 'WSTUN-E404', 4, 'the peer sent more than its credit', { fix: REPORT }),
  'credit-overflow': wireFault('protocol', 'WSTUN-E405', 5, 'the peer granted credit out of range', { fix: REPORT }),
  'peer-flood': wireFault('protocol', 'WSTUN-E406', 6, 'the peer sent too many control frames', { fix: REPORT }),
  'peer-silent': wireFault('network', 'WSTUN-E407', 7, 'the peer stopped answering', { fix: RECONNECTS }),
  'out-of-ids': wireFault('protocol', 'WSTUN-E408', 8, 'the session has used all its stream ids', { fix: NEW_SESSION }),
  'wrong-state': wireFault('protocol', 'WSTUN-E409', 9, 'the peer sent a frame that the state of its stream forbids', {
    fix: REPORT,
  }),
  'bad-record': wireFault('protocol', 'WSTUN-E431', 20, 'the peer sent a malformed record', { fix: REPORT }),
  'session-unknown': wireFault(
    'network',
    'WSTUN-E432',
    21,
    'the exit does not know this session any more: it restarted, or the session had no link for too long',
    { fix: NEW_SESSION },
  ),
  'session-expired': wireFault('network', 'WSTUN-E433', 22, 'there was no link for longer than a session is kept', {
    fix: `${NEW_SESSION} --resume-window sets how many seconds each end keeps a session.`,
  }),
  'session-gap': wireFault(
    'network',
    'WSTUN-E434',
    23,
    'the session cannot resume: its two ends disagree about what was received',
    { fix: NEW_SESSION },
  ),
  'session-closed': wireFault('network', 'WSTUN-E435', 24, 'the other end closed the session', { fix: NEW_SESSION }),
  // 5: proxy
  'proxy-timed-out': fault('proxy', 'WSTUN-E501', 'the program did not finish its proxy request in time'),
  'proxy-malformed': fault('proxy', 'WSTUN-E502', 'the program sent something that is not a proxy request', {
    fix: 'The port accepts SOCKS5, SOCKS4, SOCKS4a and HTTP.',
  }),
  'proxy-command': fault('proxy', 'WSTUN-E503', 'this SOCKS command is not supported', {
    fix: 'CONNECT, BIND and UDP ASSOCIATE are supported; SOCKS4 has no UDP.',
  }),
  'proxy-address-type': fault('proxy', 'WSTUN-E504', 'this SOCKS address type does not exist'),
  'proxy-unauthorised': fault('proxy', 'WSTUN-E505', 'the program sent no user name and password, or wrong ones', {
    fix: 'Use those given to wstun client with --user.',
  }),
  'proxy-busy': fault('proxy', 'WSTUN-E506', 'the proxy has reached its maximum number of connections', {
    fix: 'Close some connections, or try again later.',
  }),
  'proxy-bad-answer': fault('proxy', 'WSTUN-E507', 'the target did not send a valid HTTP response'),
  // 9: internal
  internal: wireFault('internal', 'WSTUN-E900', 15, 'internal error', {
    fix: 'Please report it, with the log lines before it.',
  }),
} as const satisfies Record<string, Fault>;
