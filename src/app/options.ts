/** Options that relay, client and exit share, and their ranges. */
import { WstunError } from '../errors.ts';

/** How long `close` lets connections finish, ms: under the 90 s after which systemd kills a service. */
export const DRAIN_MS = 30_000;

type Shape = readonly [is: (value: unknown) => boolean, what: string];

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null;
const isText = (value: unknown) => typeof value === 'string';
const areTexts = (value: unknown) => Array.isArray(value) && value.every(isText);
const isWhole = (value: unknown, max: number) => Number.isInteger(value) && Number(value) >= 0 && Number(value) <= max;
// Node takes a missing or empty host as all interfaces.
const isHostPort = (value: unknown) =>
  isObject(value) && isText(value.host) && value.host !== '' && isWhole(value.port, 65_535);
const isPlace = (value: unknown) => isHostPort(value) || (isObject(value) && isWhole(value.fd, 2 ** 31));
const LOG_METHODS = ['debug', 'info', 'warn', 'error'];
const isLogger = (value: unknown) => isObject(value) && LOG_METHODS.every((name) => typeof value[name] === 'function');

const TEXT: Shape = [isText, 'a text'];
export const TEXTS: Shape = [areTexts, 'a list of texts'];
const URLS: Shape = [(value) => isText(value) || areTexts(value), 'a text, or a list of texts'];
const wholeTo = (max: number): Shape => [(value) => isWhole(value, max), `a whole number from 0 to ${max}`];
const FLAG: Shape = [(value) => typeof value === 'boolean', 'true or false'];
const OBJECT: Shape = [isObject, 'an object'];
const FAMILY: Shape = [(value) => value === 4 || value === 6, '4 or 6'];
const HOST_PORT: Shape = [isHostPort, 'a host and a port'];
export const PLACES: Shape = [
  (value) => Array.isArray(value) && value.length > 0 && value.every(isPlace),
  'a list of at least one address, each a host and a port',
];

const SHAPES: Readonly<Record<string, Shape>> = {
  ...{
    state: TEXT,
    invite: TEXT,
    path: TEXT,
    decoy: TEXT,
    trustProxy: TEXTS,
    dns: TEXTS,
    publicAddresses: TEXTS,
    allow: TEXTS,
    browserArgs: TEXTS,
    pacDirect: TEXTS,
    forwards: TEXTS,
    remoteForwards: TEXTS,
  },
  ...{ proxy: TEXT, proxyAuthFile: TEXT, proxyAuthCommand: TEXT, via: TEXT },
  ...{
    allowLan: FLAG,
    bond: FLAG,
    direct: FLAG,
    once: FLAG,
    exit: FLAG,
    proxyProtocol: FLAG,
    events: OBJECT,
    credentials: OBJECT,
    limits: OBJECT,
  },
  ...{
    admin: HOST_PORT,
    dnsListen: HOST_PORT,
    resumeWindowMs: wholeTo(86_400_000),
    maxPendingPerAddress: wholeTo(1_000_000),
  },
  viaBrowser: [(value) => value === true || (isText(value) && value !== ''), 'true, open, or a program'],
  tether: [(value) => value === true || isHostPort(value), 'true, or a host and a port'],
  url: URLS,
  ownUrl: URLS,
  tls: [
    (value) => value === 'self-signed' || (isObject(value) && areTexts([value.certFile, value.keyFile])),
    'self-signed, or the paths certFile and keyFile',
  ],
  acme: [(value) => isObject(value) && areTexts(value.domains), 'an object with a list of domains'],
  hosts: [(value) => isObject(value) && areTexts(Object.values(value)), 'an object of texts'],
  encryption: [(value) => value === 'on' || value === 'off', 'on or off'],
  transport: [(value) => value === 'auto' || value === 'websocket' || value === 'http', 'auto, websocket or http'],
  linkMaxBytes: [(value) => isWhole(value, 2 ** 31) && Number(value) >= 4096, 'a whole number from 4096 to 2147483648'],
  linkMaxAgeMs: [
    (value) => isWhole(value, 86_400_000) && Number(value) >= 2000,
    'a whole number from 2000 to 86400000',
  ],
  links: [(value) => value === 'auto' || (isWhole(value, 8) && value !== 0), 'auto, or a whole number from 1 to 8'],
  ...{ tlsCa: TEXTS, tlsPins: TEXTS, sni: TEXT, hostHeader: TEXT, userAgent: TEXT, source: TEXT, connectTo: HOST_PORT },
  tlsIdentity: [
    (value) => isObject(value) && areTexts([value.certFile, value.keyFile]),
    'the paths certFile and keyFile',
  ],
  headers: [(value) => isObject(value) && areTexts(Object.values(value)), 'an object of texts'],
  ...{ family: FAMILY, preferFamily: FAMILY },
  role: [(value) => value === 'client' || value === 'exit', 'client or exit'],
  logger: [isLogger, `an object with the methods ${LOG_METHODS.join(', ')}`],
};

/** For programs without types. @throws WstunError bad-option */
export function requireShapes(options: object, needed: readonly string[] = [], listen = HOST_PORT): void {
  if (!isObject(options)) throw new WstunError('bad-option', 'the options must be an object');
  for (const [name, [is, what]] of Object.entries({ ...SHAPES, listen })) {
    const isRight = options[name] === undefined ? !needed.includes(name) : is(options[name]);
    if (!isRight) throw new WstunError('bad-option', `${name} must be ${what}`);
  }
}
