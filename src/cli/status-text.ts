/** A status as text for a terminal of 80 columns. Pure. */
import type {
  ClientStatus,
  ClusterStatus,
  ForwardStatus,
  PeerStatus,
  RelayStatus,
  RemoteForwardStatus,
  ServingStatus,
  Status,
  StreamStatus,
  Traffic,
} from '../app/status.ts';
import { counted, rate, size } from './terminal/quantities.ts';
import { safeText } from './terminal/safe-text.ts';
import { cut, widthOf } from './terminal/width.ts';

const COLUMNS = 80;
const MAX_STREAMS = 20;
const MAX_PEERS = 20;

const STATES: Readonly<Record<ClientStatus['state'], string>> = {
  connecting: 'connecting',
  connected: 'connected',
  'link-lost': 'link lost, connections wait',
  disconnected: 'not connected',
  closing: 'closing',
};

/** @param now ms since 1970 */
export function statusText(status: Status, now: number): string {
  const lines = status.role === 'client' ? clientLines(status, now) : servingLines(status, now);
  return lines.map(clipped).join('\n');
}

function clientLines(status: ClientStatus, now: number): readonly string[] {
  const { state, since, listen, profile, relay, exit, route, links, roundTripMs, traffic, outage } = status;
  const carrier = route === undefined ? '' : `, ${carrierText(route)}`;
  const trip = roundTripMs && row('round trip', `${ms(roundTripMs.now)}, lowest ${ms(roundTripMs.min)}`);
  return [
    `wstun client at ${listen} (process ${status.pid}, ${status.version})`,
    ...(profile === undefined ? [] : [row('invite', `kept as "${profile}"`)]),
    row('state', `${STATES[state]} for ${duration(now - since)}`),
    row('relay', `${relay}${carrier}`),
    row('targets', exit === 'relay' ? 'dialled by the relay' : 'dialled by an exit behind the relay'),
    row('links', String(links)),
    ...(trip === undefined ? [] : [trip]),
    ...trafficRows(traffic),
    row('losses', `${counted(status.resumes, 'link')} resumed, ${counted(status.streamsLost, 'connection')} lost`),
    ...outageRows(outage, now),
    ...serviceRows(status),
    row('open', openText(status)),
    ...streamRows(status, now),
  ];
}

function carrierText({ carrier, proxy }: NonNullable<ClientStatus['route']>): string {
  const name = carrier === 'page' ? 'by a browser' : `by ${carrier === 'websocket' ? 'WebSocket' : 'HTTP link'}`;
  return proxy === undefined ? name : `${name} through ${proxy}`;
}

function outageRows(outage: ClientStatus['outage'], now: number): readonly string[] {
  if (outage === undefined) return [];
  const { fault, failures, nextAttemptAt, heldUntil } = outage;
  return [
    ...(fault ? folded('why', fault.message) : []),
    ...(failures > 1 ? [row('', `${failures} times in a row`)] : []),
    ...(nextAttemptAt === undefined ? [] : [row('next try', `in ${duration(nextAttemptAt - now)}`)]),
    ...(heldUntil === undefined ? [] : [row('held', `connections wait ${duration(heldUntil - now)} more`)]),
  ];
}

function serviceRows({ forwards = [], remoteForwards = [], nameServer }: ClientStatus): readonly string[] {
  return [
    ...(nameServer === undefined ? [] : [row('names', `name server on ${nameServer}, UDP and TCP`)]),
    ...forwards.map(forwardRow),
    ...remoteForwards.flatMap(remoteForwardRows),
  ];
}

function forwardRow({ protocol, listen, to }: ForwardStatus): string {
  return row('forward', `${listen}${protocol === 'udp' ? ' (UDP)' : ''} leads to ${to} from the exit`);
}

function remoteForwardRows({ forward, protocol, state, bound, to, fault }: RemoteForwardStatus): readonly string[] {
  if (bound === undefined) {
    const text = state === 'opening' ? 'not open yet' : state;
    return [row('port', `${forward} ${text}`), ...(fault === undefined ? [] : folded('', fault.message))];
  }
  const where = to === 'socks' ? 'is a SOCKS proxy of this machine' : `leads to ${to}`;
  return [row('port', `${bound}${protocol === 'udp' ? ' (UDP)' : ''} at the exit ${where}`)];
}

/** Associations are few, and only of those who use UDP. */
function openText({ streamCount, associations }: ClientStatus): string {
  const connections = counted(streamCount, 'connection');
  return associations > 0 ? `${connections}, ${counted(associations, 'UDP association')}` : connections;
}

/** The newest first. */
function streamRows({ streams, streamCount }: ClientStatus, now: number): readonly string[] {
  const shown = streams.slice(-MAX_STREAMS).reverse();
  const left = streamCount - shown.length;
  return [...shown.map((stream) => streamRow(stream, now)), ...(left > 0 ? [`  and ${left} older`] : [])];
}

function streamRow({ target, openedAt, sent, received }: StreamStatus, now: number): string {
  const age = duration(now - openedAt).padStart(7);
  return `  ${fitted(target, 44)} ${age} ${`↑${size(sent)}`.padStart(11)} ${`↓${size(received)}`.padStart(11)}`;
}

function servingLines(status: ServingStatus, now: number): readonly string[] {
  const { role, listen = [], peers, peerCount, exits, cluster, refusals } = status;
  const shown = peers.slice(0, MAX_PEERS);
  const left = peerCount - shown.length;
  const refused = Object.entries(refusals).map(([reason, times]) => `${reason} ${times}`);
  return [
    `wstun ${role} (process ${status.pid}, ${status.version}), running for ${duration(now - status.startedAt)}`,
    ...(listen.length > 0 ? folded('listens', listen.join(', ')) : []),
    ...registrationRows(status, now),
    ...(cluster === undefined ? [] : clusterRows(cluster, now)),
    ...exits.map(({ name, since }, at) => row(at === 0 ? 'exits' : '', `${name} for ${duration(now - since)}`)),
    ...(refused.length > 0 ? folded('refused', refused.join(', ')) : []),
    row('on', counted(peerCount, 'client')),
    ...shown.flatMap((peer) => peerRows(peer, now)),
    ...(left > 0 ? [`  and ${left} more`] : []),
  ];
}

function clusterRows({ name, connectedSince, awaySince, server, fault, relays }: ClusterStatus, now: number) {
  const how =
    connectedSince === undefined
      ? `away for ${duration(now - (awaySince ?? now))}`
      : `${counted(relays, 'relay')}, connected for ${duration(now - connectedSince)}, by ${server ?? ''}`;
  return [row('cluster', `${name}, ${how}`), ...(fault ? folded('why', fault.message) : [])];
}

/** A line a relay. Where the exit is registered nowhere, there is a reason, too. */
function registrationRows({ relay, relays }: ServingStatus, now: number): readonly string[] {
  if (relay === undefined) return [];
  if (relays === undefined) return [row('relay', registrationText(relay, now)), ...reasonRows(relay)];
  const rows = relays.map((each, at) => row(at === 0 ? 'relays' : '', `${registrationText(each, now)}${codeOf(each)}`));
  return relay.registeredAt === undefined ? [...rows, ...reasonRows(relay)] : rows;
}

function registrationText({ address, registeredAt, sameAs }: RelayStatus, now: number): string {
  if (sameAs !== undefined) return `${address}, the same relay as ${sameAs}`;
  return `${address}, ${registeredAt === undefined ? 'not registered' : `registered for ${duration(now - registeredAt)}`}`;
}

function codeOf({ fault }: RelayStatus): string {
  return fault === undefined ? '' : ` (${fault.code})`;
}

function reasonRows({ fault }: RelayStatus): readonly string[] {
  return fault === undefined ? [] : folded('why', fault.message);
}

/** Arrows as the client sees it: down is what it receives. */
function peerRows({ name, address, exit, since, links, streams, traffic }: PeerStatus, now: number): readonly string[] {
  const from = [address === undefined ? '' : ` from ${address}`, exit === undefined ? '' : ` to ${exit}`].join('');
  const open = streams === undefined ? '' : `, ${counted(streams, 'connection')}`;
  const { sent, received, sentPerSecond, receivedPerSecond } = traffic;
  const rates = `↓${rate(sentPerSecond)} ↑${rate(receivedPerSecond)}`;
  return [
    `  ${fitted(`${name}${from}`, 56)} ${duration(now - since).padStart(9)}`,
    `    ${counted(links, 'link')}${open}; ↓${size(sent)} ↑${size(received)}, now ${rates}`,
  ];
}

function trafficRows({ sent, received, sentPerSecond, receivedPerSecond }: Traffic): readonly string[] {
  return [
    row('now', `↑ ${rate(sentPerSecond)}, ↓ ${rate(receivedPerSecond)}`),
    row('in all', `↑ ${size(sent)}, ↓ ${size(received)}`),
  ];
}

const NAME_COLUMNS = 12;

function row(name: string, text: string): string {
  return `  ${name.padEnd(NAME_COLUMNS)}${text}`;
}

/** In several lines where one is too short. */
function folded(name: string, text: string): readonly string[] {
  const lines = [''];
  for (const word of text.split(' ')) {
    const last = lines.at(-1) ?? '';
    if (last !== '' && last.length + 1 + word.length > COLUMNS - NAME_COLUMNS - 2) lines.push(word);
    else lines[lines.length - 1] = last === '' ? word : `${last} ${word}`;
  }
  return lines.map((line, at) => row(at === 0 ? name : '', line));
}

/** Names of peers and targets may hold characters that act on a terminal. */
function clipped(line: string): string {
  return cut(safeText(line), COLUMNS);
}

function fitted(text: string, columns: number): string {
  const short = cut(safeText(text), columns);
  return short + ' '.repeat(columns - widthOf(short));
}

function ms(value: number): string {
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
}

/** `3 s`, `2 m 5 s`, `3 h 4 m`, `5 d 2 h`. */
function duration(forMs: number): string {
  const seconds = Math.max(0, Math.round(forMs / 1000));
  const minutes = Math.floor(seconds / 60);
  const hours = Math.floor(minutes / 60);
  if (minutes === 0) return `${seconds} s`;
  if (hours === 0) return `${minutes} m ${seconds % 60} s`;
  return hours < 24 ? `${hours} h ${minutes % 60} m` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}
