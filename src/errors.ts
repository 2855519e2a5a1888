/**
 * Every way in which wstun can fail, in one table: a class (which decides the exit code), a stable code for people and
 * search engines, a wire code where a peer can be told, one sentence, and what to do next.
 *
 * Imports nothing. Codes are never reused: a fault that goes away leaves its number empty. docs/errors.md lists them all,
 * and a test holds the two together.
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
  /** The code that carries this fault in open-failed, reset and go-away frames (docs/protocol.md, "Codes"); 1..65535. */
  readonly wire?: number;
  /** What happened, without a full stop. */
  readonly sentence: string;
  /** What to do next, a whole sentence; empty where there is nothing that the reader could do. */
  readonly fix: string;
}

export const FAULTS = {
  // 1: set-up
  'bad-option': {
    class: 'usage',
    code: 'WSTUN-E101',
    sentence: 'an option is wrong',
    fix: '',
  },
  'bad-address': {
    class: 'usage',
    code: 'WSTUN-E102',
    sentence: 'this is not an address to listen on',
    fix: 'Write HOST:PORT, an IPv6 host in brackets: 127.0.0.1:1080, [::1]:1080.',
  },
  'open-to-network': {
    class: 'usage',
    code: 'WSTUN-E103',
    sentence: 'this address would open the proxy to other machines',
    fix: 'Add --user NAME:PASS, or --allow-lan if everyone who can reach it may use it.',
  },
  'cannot-listen': {
    class: 'network',
    code: 'WSTUN-E104',
    sentence: 'cannot listen there',
    fix: 'Stop what holds the port, or choose another: --listen HOST:PORT.',
  },
  'invite-malformed': {
    class: 'usage',
    code: 'WSTUN-E105',
    sentence: 'this is not a wstun invite',
    fix: 'An invite begins with "wstun1_"; copy the whole line again, or ask for a new one.',
  },
  'invite-incomplete': {
    class: 'usage',
    code: 'WSTUN-E106',
    sentence: 'the invite is cut off',
    fix: 'Copy the whole line and paste it again.',
  },
  'invite-mistyped': {
    class: 'usage',
    code: 'WSTUN-E107',
    sentence: 'the invite does not match its checksum',
    fix: 'A character was changed or is missing: copy the whole of it again.',
  },
  'invite-missing': {
    class: 'usage',
    code: 'WSTUN-E108',
    sentence: 'no invite was given',
    fix: "Pass it as an argument, with --invite-file FILE, or in $WSTUN_INVITE; the relay's owner makes one with: wstun access add NAME, and for an exit with --role exit.",
  },
  'bad-rule': {
    class: 'usage',
    code: 'WSTUN-E109',
    sentence: 'this is not an allow rule',
    fix: 'Write CIDR, IP, name or *.name, then :ports if only some: 10.0.0.0/8:22,80, [fd00::/8]:443, *.corp.example:8000-8999, *.',
  },
  'bad-url': {
    class: 'usage',
    code: 'WSTUN-E110',
    sentence: 'this is not the URL of a relay',
    fix: 'Write wss://host/path, or ws://host:port for a relay without TLS.',
  },
  'state-unusable': {
    class: 'config',
    code: 'WSTUN-E111',
    sentence: 'the state directory cannot be used',
    fix: 'Give another with --state DIR, or mend its owner and rights.',
  },
  'identity-damaged': {
    class: 'config',
    code: 'WSTUN-E112',
    sentence: 'the identity file is damaged',
    fix: 'Restore it from a backup, or delete it to begin anew: every invite made so far then stops working.',
  },
  'access-malformed': {
    class: 'config',
    code: 'WSTUN-E113',
    sentence: 'the access list cannot be read',
    fix: 'Mend the line it names; a relay or exit that runs keeps to the last good list until then.',
  },
  'name-taken': {
    class: 'usage',
    code: 'WSTUN-E114',
    sentence: 'the access list already has this name',
    fix: 'Change what is open to it with: wstun access set NAME. A new invite for it: wstun access renew NAME. Or choose another name.',
  },
  'name-unknown': {
    class: 'usage',
    code: 'WSTUN-E115',
    sentence: 'the access list does not have this name',
    fix: 'See the names with: wstun access list.',
  },
  'bad-name': {
    class: 'usage',
    code: 'WSTUN-E116',
    sentence: 'this cannot be a name',
    fix: 'Use 1 to 63 letters, digits, dots, dashes or underscores, the first a letter or digit.',
  },
  'bad-certificate': {
    class: 'config',
    code: 'WSTUN-E117',
    sentence: 'the TLS certificate or key cannot be used',
    fix: 'Give both --tls-cert and --tls-key, PEM files that belong together.',
  },
  'bad-credentials': {
    class: 'usage',
    code: 'WSTUN-E118',
    sentence: 'this is not a user and password',
    fix: 'Write NAME:PASS, each 1 to 255 bytes.',
  },
  'bad-key': {
    class: 'usage',
    code: 'WSTUN-E119',
    sentence: 'this is not a public key',
    fix: 'It begins with "wstunpk1_": copy the whole of it again.',
  },
  'two-invites': {
    class: 'usage',
    code: 'WSTUN-E125',
    sentence: 'what was given holds two different invites',
    fix: 'Give one of them alone.',
  },
  'invite-for-exit': {
    class: 'usage',
    code: 'WSTUN-E126',
    sentence: 'this invite is for an exit',
    fix: 'Use it where that is to run, with: wstun exit. For a client the exit then makes its own, with: wstun access add NAME.',
  },
  'invite-for-client': {
    class: 'usage',
    code: 'WSTUN-E127',
    sentence: 'this invite is for a client',
    fix: "Use it with: wstun client. For an exit the relay's owner makes one, with: wstun access add NAME --role exit.",
  },
  'state-ambiguous': {
    class: 'usage',
    code: 'WSTUN-E128',
    sentence: 'this machine has more than one state directory',
    fix: 'Say which is meant: --state DIR.',
  },
  'state-missing': {
    class: 'config',
    code: 'WSTUN-E129',
    sentence: 'no relay or exit of this user has its state here',
    fix: 'Start one once (wstun relay, wstun exit), or say where it is: --state DIR.',
  },
  'not-confirmed': {
    class: 'usage',
    code: 'WSTUN-E130',
    sentence: 'it was not confirmed, so nothing was changed',
    fix: 'Answer y, or give --yes.',
  },
  'limits-malformed': {
    class: 'config',
    code: 'WSTUN-E122',
    sentence: 'the limits cannot be read',
    fix: 'Mend what it names in limits.toml; docs/limits.md has all that may stand there.',
  },
  'bad-passed-socket': {
    class: 'config',
    code: 'WSTUN-E123',
    sentence: 'the listening sockets that were passed to this process cannot be used',
    fix: 'LISTEN_FDS says how many TCP sockets begin at descriptor 3: with systemd, ListenStream= with a port, and Accept=no.',
  },
  'out-of-descriptors': {
    class: 'network',
    code: 'WSTUN-E135',
    sentence: 'this process has no file descriptors left for more connections',
    fix: 'Raise its limit: LimitNOFILE= in a systemd unit, --ulimit nofile= of docker run, ulimit -n in a shell.',
  },
  // 2: link
  'relay-unreachable': {
    class: 'network',
    code: 'WSTUN-E201',
    sentence: 'the relay cannot be reached',
    fix: 'Check its address, that it runs, and that this network lets you out.',
  },
  'relay-refused': {
    class: 'access',
    code: 'WSTUN-E202',
    sentence: 'the address of the relay answers "not found"',
    fix: 'The invite was removed there, or a web server or filter in front answers in its place. wstun tries again by itself; if it stays so, ask for a new one.',
  },
  'relay-untrusted': {
    class: 'network',
    code: 'WSTUN-E203',
    sentence: 'the TLS certificate of the relay is not to be trusted',
    fix: 'If something on this network inspects TLS, add its CA with NODE_EXTRA_CA_CERTS; else do not go on.',
  },
  'relay-odd-answer': {
    class: 'network',
    code: 'WSTUN-E204',
    sentence: 'something other than a relay answered',
    fix: 'It may be a captive portal, a filter, or a reverse proxy that passes no WebSockets on: look with a browser. wstun tries again by itself.',
  },
  'link-lost': {
    class: 'network',
    code: 'WSTUN-E205',
    wire: 12,
    sentence: 'the link to the relay was lost',
    fix: 'wstun dials again by itself.',
  },
  'link-slow': {
    class: 'network',
    code: 'WSTUN-E206',
    sentence: 'the relay did not answer the upgrade in time',
    fix: 'Try again; if it stays so, a filter may hold WebSockets back.',
  },
  'access-removed': {
    class: 'access',
    code: 'WSTUN-E207',
    wire: 11,
    sentence: 'the access of this invite was removed',
    fix: 'Ask the owner of the relay or exit for a new one.',
  },
  'shutting-down': {
    class: 'network',
    code: 'WSTUN-E208',
    wire: 10,
    sentence: 'the other end is shutting down',
    fix: 'wstun dials again by itself.',
  },
  'not-connected': {
    class: 'network',
    code: 'WSTUN-E209',
    wire: 13,
    sentence: 'there is no link to the relay at the moment',
    fix: 'wstun dials again by itself; try again soon.',
  },
  'interfaces-hidden': {
    class: 'config',
    code: 'WSTUN-E121',
    sentence: 'the addresses of this machine cannot be listed',
    fix: 'A sandbox hides them: with systemd, add AF_NETLINK to RestrictAddressFamilies.',
  },
  'encryption-needed': {
    class: 'usage',
    code: 'WSTUN-E120',
    sentence: 'encryption cannot be off here',
    fix: 'Leave --encryption on: off is only for wss:// to the exit that is built into the relay, without --tether.',
  },
  'no-lan-address': {
    class: 'config',
    code: 'WSTUN-E124',
    sentence: 'this machine has no address on a local network',
    fix: "Join the phone's Wi-Fi or hotspot: the code is shown as soon as there is one. Or give it yourself: --tether HOST:PORT.",
  },
  'bad-upgrade': {
    class: 'protocol',
    code: 'WSTUN-E210',
    sentence: 'the peer did not complete its WebSocket upgrade',
    fix: '',
  },
  'handshake-failed': {
    class: 'network',
    code: 'WSTUN-E211',
    sentence: 'the two ends could not prove themselves to each other',
    fix: 'The invite may have been removed, or the keys of the exit changed: ask for a new one. Else something in between interferes.',
  },
  'exit-absent': {
    class: 'network',
    code: 'WSTUN-E212',
    wire: 14,
    sentence: 'the exit of this invite is not connected',
    fix: 'wstun dials again by itself; if it stays so, the owner of the exit has to start it: wstun exit.',
  },
  'exit-replaced': {
    class: 'network',
    code: 'WSTUN-E213',
    sentence: 'another exit has registered under the same name',
    fix: 'This one waits until that place is free. To run both, give each its own name: wstun access add NAME --role exit.',
  },
  'exit-running': {
    class: 'network',
    code: 'WSTUN-E225',
    sentence: 'an exit already runs with this state directory',
    fix: 'End that one first, or give this one a directory of its own: --state DIR.',
  },
  'too-many-sessions': {
    class: 'network',
    code: 'WSTUN-E214',
    wire: 16,
    sentence: 'this invite has as many sessions as it may have',
    fix: 'wstun dials again by itself; end a client that uses the same invite, or let the owner of the exit raise it: wstun access set NAME --sessions N.',
  },
  'keys-rotated': {
    class: 'access',
    code: 'WSTUN-E215',
    wire: 17,
    sentence: 'this invite was made before the keys of its relay or exit were changed',
    fix: 'Ask the owner of the relay or exit for a new one: wstun access renew NAME.',
  },
  overloaded: {
    class: 'network',
    code: 'WSTUN-E216',
    wire: 18,
    sentence: 'the other end is short of memory or of places, and takes no new sessions at the moment',
    fix: 'wstun dials again by itself; if it stays so, the owner of that end may raise "memory" or "links" in limits.toml.',
  },
  'phone-offline': {
    class: 'network',
    code: 'WSTUN-E217',
    sentence: 'the phone cannot reach the relay',
    fix: 'Switch its mobile data on and look at what its page says; wstun tries again by itself.',
  },
  'phone-refused': {
    class: 'network',
    code: 'WSTUN-E218',
    sentence: 'the relay does not open to the phone',
    fix: 'The invite may have been removed, or the mobile network lets no WebSockets through; wstun tries again by itself.',
  },
  'upgrade-dropped': {
    class: 'network',
    code: 'WSTUN-E219',
    sentence: 'the relay is there and knows this invite, but something in front of it drops the WebSocket upgrade',
    fix: 'Let the web server or proxy in front of the relay pass upgrades on: docs/operations.md has the lines for nginx, Apache and HAProxy. wstun dials again by itself.',
  },
  'wrong-path': {
    class: 'network',
    code: 'WSTUN-E220',
    sentence: 'the relay is there and knows this invite, but the request reached it under another path than its --path',
    fix: 'What the web server in front of the relay strips or adds must fit --path: the log of the relay has both paths. wstun dials again by itself.',
  },
  'clock-off': {
    class: 'network',
    code: 'WSTUN-E221',
    sentence: 'the clocks of this machine and of the relay are too far apart',
    fix: "Set the clock that is wrong. Until then wstun goes by the relay's clock here, and dials again by itself.",
  },
  'relay-full': {
    class: 'network',
    code: 'WSTUN-E222',
    sentence: 'the relay has as many links as it may have',
    fix: 'wstun dials again by itself; the owner of the relay may raise "links" in limits.toml.',
  },
  'too-often': {
    class: 'network',
    code: 'WSTUN-E223',
    sentence: 'this invite opens links at the relay faster than it may',
    fix: 'It passes, and wstun dials again by itself; if it stays so, many share the invite, or a network drops every link: give each its own invite.',
  },
  // 3: dial
  'dial-refused': {
    class: 'dial',
    code: 'WSTUN-E301',
    wire: 32,
    sentence: 'the target refused the connection',
    fix: 'Nothing listens on that port there.',
  },
  'dial-host-unreachable': {
    class: 'dial',
    code: 'WSTUN-E302',
    wire: 33,
    sentence: 'the target cannot be reached from the exit',
    fix: '',
  },
  'dial-network-unreachable': {
    class: 'dial',
    code: 'WSTUN-E303',
    wire: 34,
    sentence: 'the exit has no network to the target',
    fix: 'The exit may lack IPv6.',
  },
  'dial-not-allowed': {
    class: 'dial',
    code: 'WSTUN-E304',
    wire: 35,
    sentence: 'the exit does not allow this target',
    fix: 'Only public addresses are open; the owner of the exit opens more with: wstun access set NAME --allow RULE.',
  },
  'dial-timed-out': {
    class: 'dial',
    code: 'WSTUN-E305',
    wire: 36,
    sentence: 'the target did not answer in time',
    fix: '',
  },
  'dial-name-unknown': {
    class: 'dial',
    code: 'WSTUN-E306',
    wire: 37,
    sentence: 'the name of the target does not exist',
    fix: 'Check its spelling.',
  },
  'dial-name-failed': {
    class: 'dial',
    code: 'WSTUN-E307',
    wire: 38,
    sentence: 'the exit could not resolve the name of the target',
    fix: "Try again; else the exit's name server is at fault.",
  },
  'dial-bad-target': {
    class: 'dial',
    code: 'WSTUN-E308',
    wire: 39,
    sentence: 'this is not a host that can be dialled',
    fix: 'Use a name of letters, digits and dashes, or an IP address.',
  },
  'dial-busy': {
    class: 'dial',
    code: 'WSTUN-E309',
    wire: 40,
    sentence: 'the exit takes no more streams at the moment',
    fix: 'Close some connections, or try again.',
  },
  'dial-failed': {
    class: 'dial',
    code: 'WSTUN-E310',
    wire: 41,
    sentence: 'the exit could not connect to the target',
    fix: '',
  },
  'target-reset': { class: 'dial', code: 'WSTUN-E311', wire: 42, sentence: 'the connection was reset', fix: '' },
  'dial-cancelled': { class: 'dial', code: 'WSTUN-E312', wire: 43, sentence: 'the connection was given up', fix: '' },
  'quota-used': {
    class: 'dial',
    code: 'WSTUN-E313',
    wire: 44,
    sentence: 'the bytes of this invite for this month are used up',
    fix: 'The owner of the exit raises it with: wstun access set NAME --quota BYTES. Else it begins anew with the next month (UTC).',
  },
  // 4: session
  'bad-frame': {
    class: 'protocol',
    code: 'WSTUN-E401',
    wire: 1,
    sentence: 'the peer sent a malformed frame',
    fix: 'If both ends are wstun of the same version, please report it.',
  },
  'bad-version': {
    class: 'protocol',
    code: 'WSTUN-E402',
    wire: 2,
    sentence: 'the peer speaks another version of the protocol',
    fix: 'Bring both ends to the same version.',
  },
  'bad-stream-id': {
    class: 'protocol',
    code: 'WSTUN-E403',
    wire: 3,
    sentence: 'the peer used a stream id that it may not use',
    fix: 'If both ends are wstun of the same version, please report it.',
  },
  'window-exceeded': {
    class: 'protocol',
    code: 'WSTUN-E404',
    wire: 4,
    sentence: 'the peer sent more than its credit',
    fix: 'If both ends are wstun of the same version, please report it.',
  },
  'credit-overflow': {
    class: 'protocol',
    code: 'WSTUN-E405',
    wire: 5,
    sentence: 'the peer granted credit out of range',
    fix: 'If both ends are wstun of the same version, please report it.',
  },
  'peer-flood': {
    class: 'protocol',
    code: 'WSTUN-E406',
    wire: 6,
    sentence: 'the peer sent too many frames of no use',
    fix: 'If both ends are wstun of the same version, please report it.',
  },
  'peer-silent': {
    class: 'network',
    code: 'WSTUN-E407',
    wire: 7,
    sentence: 'the peer has fallen silent',
    fix: 'wstun dials again by itself.',
  },
  'out-of-ids': {
    class: 'protocol',
    code: 'WSTUN-E408',
    wire: 8,
    sentence: 'the session has used all its stream ids',
    fix: 'wstun begins a new session by itself.',
  },
  'wrong-state': {
    class: 'protocol',
    code: 'WSTUN-E409',
    wire: 9,
    sentence: 'the peer sent a frame that the state of its stream forbids',
    fix: 'If both ends are wstun of the same version, please report it.',
  },
  'bad-record': {
    class: 'protocol',
    code: 'WSTUN-E431',
    wire: 20,
    sentence: 'the peer sent a malformed record',
    fix: 'If both ends are wstun of the same version, please report it.',
  },
  'session-unknown': {
    class: 'network',
    code: 'WSTUN-E432',
    wire: 21,
    sentence: 'the exit does not know this session any more: it was restarted, or the session was away for too long',
    fix: 'wstun begins a new session by itself.',
  },
  'session-expired': {
    class: 'network',
    code: 'WSTUN-E433',
    wire: 22,
    sentence: 'there was no link for longer than the session is kept',
    fix: 'wstun begins a new session by itself; --resume-window sets how long.',
  },
  'session-gap': {
    class: 'network',
    code: 'WSTUN-E434',
    wire: 23,
    sentence: 'the two ends of the session do not fit together any more',
    fix: 'wstun begins a new session by itself.',
  },
  'session-closed': {
    class: 'network',
    code: 'WSTUN-E435',
    wire: 24,
    sentence: 'the other end has closed the session',
    fix: 'wstun begins a new session by itself.',
  },
  // 5: proxy
  'proxy-timed-out': {
    class: 'proxy',
    code: 'WSTUN-E501',
    sentence: 'the program did not finish its proxy request in time',
    fix: '',
  },
  'proxy-malformed': {
    class: 'proxy',
    code: 'WSTUN-E502',
    sentence: 'the program sent something that is no proxy request',
    fix: 'The port speaks SOCKS5, SOCKS4, SOCKS4a and HTTP.',
  },
  'proxy-command': {
    class: 'proxy',
    code: 'WSTUN-E503',
    sentence: 'this SOCKS command is not supported',
    fix: 'Only CONNECT is.',
  },
  'proxy-address-type': {
    class: 'proxy',
    code: 'WSTUN-E504',
    sentence: 'this SOCKS address type does not exist',
    fix: '',
  },
  'proxy-unauthorised': {
    class: 'proxy',
    code: 'WSTUN-E505',
    sentence: 'the program gave no or a wrong user and password',
    fix: 'Set those given to wstun client with --user.',
  },
  'proxy-busy': {
    class: 'proxy',
    code: 'WSTUN-E506',
    sentence: 'the proxy has as many connections as it may hold',
    fix: 'Close some connections, or try again.',
  },
  'proxy-bad-answer': {
    class: 'proxy',
    code: 'WSTUN-E507',
    sentence: 'the target did not give a valid HTTP answer',
    fix: '',
  },
  // 9: internal
  internal: {
    class: 'internal',
    code: 'WSTUN-E900',
    wire: 15,
    sentence: 'wstun has a defect here',
    fix: 'Please report it, with the lines of the log before it.',
  },
} as const satisfies Record<string, Fault>;

export type FaultName = keyof typeof FAULTS;

/** The faults that a peer can be told of. */
export type WireFaultName = { [K in FaultName]: (typeof FAULTS)[K] extends { wire: number } ? K : never }[FaultName];

/** Every fault that wstun throws or hands on. `detail` must never hold a secret: it reaches logs and screens. */
export class WstunError extends Error {
  override readonly name = 'WstunError';
  readonly fault: FaultName;
  readonly detail: string;

  /** `fix` stands in for that of the table, where more is known of what the reader can do. */
  constructor(fault: FaultName, detail = '', options: ErrorOptions & { readonly fix?: string } = {}) {
    super(describeFault(fault, detail, options.fix), options);
    this.fault = fault;
    this.detail = detail;
  }

  get code(): string {
    return FAULTS[this.fault].code;
  }

  get exitCode(): number {
    return EXIT_CODE[FAULTS[this.fault].class];
  }
}

/** One line for a person: what happened, the particulars, what to do next, the stable code. */
export function describeFault(fault: FaultName, detail = '', fix: string = FAULTS[fault].fix): string {
  const { sentence, code } = FAULTS[fault];
  const what = detail === '' ? sentence : `${sentence}: ${detail}`;
  return fix === '' ? `${what} (${code})` : `${what}. ${fix} (${code})`;
}

/** Why an address cannot be listened on, by the code of the system's error, and what to do about it. */
const LISTEN_FAULTS: Readonly<Record<string, readonly [reason: string, fix: string]>> = {
  EADDRINUSE: ['something else listens there already', 'Stop that, or choose another port'],
  EACCES: ['not permitted; ports below 1024 are often for root alone', 'Choose another port'],
  EADDRNOTAVAIL: ['this machine does not have that address', 'Give one that it has'],
  ENOTFOUND: ['that name does not exist', 'Give an address of this machine'],
};

/** @param option by which the address is given */
export function cannotListen(
  { host, port }: { readonly host: string; readonly port: number },
  cause: unknown,
  option: '--listen' | '--tether' = '--listen',
): WstunError {
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown reason';
  const [reason, fix] = LISTEN_FAULTS[code] ?? [code, 'Give another address'];
  const shown = host.includes(':') ? `[${host}]` : host;
  const free = code === 'EADDRINUSE' && port < 65_535 ? `${shown}:${port + 1}` : 'HOST:PORT';
  return new WstunError('cannot-listen', `${shown}:${port}: ${reason}`, { cause, fix: `${fix}: ${option} ${free}.` });
}

const byWireCode = new Map<number, WireFaultName>();
for (const [name, fault] of Object.entries(FAULTS)) {
  if ('wire' in fault) byWireCode.set(fault.wire, name as WireFaultName);
}

export function wireCodeOf(fault: WireFaultName): number {
  return FAULTS[fault].wire;
}

/** Beside the faults of dials, what an end may say of one stream. */
const OF_STREAMS: ReadonlySet<FaultName> = new Set<FaultName>([
  'shutting-down',
  'link-lost',
  'not-connected',
  'overloaded',
  'internal',
]);

/** Of a stream, in OPEN_FAILED or RESET. A code that this version does not know, or that is for sessions, is a plain failed dial. */
export function faultOfStreamCode(code: number): WireFaultName {
  const fault = byWireCode.get(code);
  return fault !== undefined && (isOfDials(fault) || OF_STREAMS.has(fault)) ? fault : 'dial-failed';
}

/** Of a session: in GO_AWAY, in place of one, or in a notice. One that is not known, or is for streams, says no more than that it is over. */
export function faultOfSessionCode(code: number): WireFaultName {
  const fault = byWireCode.get(code);
  return fault === undefined || isOfDials(fault) ? 'session-closed' : fault;
}

function isOfDials(fault: FaultName): boolean {
  return FAULTS[fault].class === 'dial';
}
