/**
 * What a prober can learn from times, of a relay with `--decoy URL`: whether it looks at tickets. Used and random tickets
 * are compared with pages of the same relay whose names are a character shorter, alternating, by the rank-sum test of
 * Mann and Whitney. Equal times fail one of a hundred such tests, so that only three in a row count. FIGURES=1 takes
 * 1,000 of each, and prints what was measured, also of a plain forwarder in front of the same nginx: an equal hop, but
 * for the look at the bytes.
 */
import { randomBytes } from 'node:crypto';
import { expect, it } from 'vitest';
import { decodeInvite } from '../../src/crypto/invite.ts';
import { audienceOf, type TicketFields, TicketSealer } from '../../src/crypto/ticket.ts';
import { startNginx } from '../support/programs/nginx.ts';
import { freePort, startServer } from '../support/programs/programs.ts';
import { startRelay } from '../support/programs/wstun-stack.ts';
import { openRaw, readUntil } from '../support/proxy/raw-http.ts';

const FIELDS: TicketFields = { role: 'client', destination: '', protocol: 1, features: 0 };
const COUNT = process.env.FIGURES === undefined ? 200 : 1_000;
const TRIES = 3;
const LEAST_P = 0.01;

/** As the relay does it, without a look at the bytes. */
const FORWARDER = `
const { createServer, connect } = require('node:net');
const [port, target] = process.argv.slice(-2).map(Number);
createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
  const upstream = connect({ host: '127.0.0.1', port: target, allowHalfOpen: true, noDelay: true });
  for (const [from, to] of [[socket, upstream], [upstream, socket]]) {
    from.on('data', (chunk) => { if (!to.write(chunk)) from.pause(); });
    from.on('end', () => to.end()).on('error', () => to.destroy()).on('close', () => to.destroy());
    to.on('drain', () => from.resume());
  }
}).listen(port, '127.0.0.1');
`;

async function startForwarder(target: number): Promise<number> {
  const port = await freePort();
  await startServer(process.execPath, ['-e', FORWARDER, '--', String(port), String(target)], port);
  return port;
}

/** Milliseconds from the request to the whole answer, on a connection of its own. */
async function timeOf(port: number, request: string): Promise<number> {
  const socket = openRaw(port).setNoDelay(true);
  await new Promise((resolve) => socket.once('connect', resolve));
  const begun = performance.now();
  socket.write(request);
  await readUntil(socket, '</html>');
  const took = performance.now() - begun;
  socket.destroy();
  return took;
}

/** Two-sided, by the normal approximation with ties. */
function rankSumP(a: readonly number[], b: readonly number[]): number {
  const all = [...a.map((value) => ({ value, isA: true })), ...b.map((value) => ({ value, isA: false }))];
  all.sort((x, y) => x.value - y.value);
  let rankSum = 0;
  let ties = 0;
  for (let at = 0; at < all.length; ) {
    let end = at;
    while (end < all.length && all[end]?.value === all[at]?.value) end += 1;
    const count = end - at;
    ties += count ** 3 - count;
    for (let each = at; each < end; each++) if (all[each]?.isA) rankSum += (at + 1 + end) / 2;
    at = end;
  }
  const total = all.length;
  const mean = (a.length * (total + 1)) / 2;
  const variance = ((a.length * b.length) / 12) * (total + 1 - ties / (total * (total - 1)));
  const z = Math.max(0, Math.abs(rankSum - mean) - 0.5) / Math.sqrt(variance);
  return erfc(z / Math.SQRT2);
}

/** Abramowitz and Stegun 7.1.26: within 1.5e-7. */
function erfc(x: number): number {
  const t = 1 / (1 + 0.3275911 * x);
  const polynomial = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  return polynomial * Math.exp(-x * x);
}

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;

interface Probe {
  readonly port: number;
  readonly request: () => string;
}

/** The best of the tries. */
async function compare(name: string, one: Probe, other: Probe): Promise<number> {
  let best = 0;
  for (let attempt = 0; attempt < TRIES && best <= LEAST_P; attempt++) {
    const times: [number[], number[]] = [[], []];
    for (let round = -20; round < COUNT; round++) {
      // Which of the two is first changes, too.
      for (const which of round % 2 === 0 ? ([0, 1] as const) : ([1, 0] as const)) {
        const { port, request } = which === 0 ? one : other;
        const took = await timeOf(port, request());
        if (round >= 0) times[which].push(took);
      }
    }
    const p = rankSumP(times[0], times[1]);
    best = Math.max(best, p);
    if (process.env.FIGURES !== undefined)
      process.stderr.write(
        `${name}: p ${p.toFixed(4)}, medians ${times.map((each) => `${(1000 * median(each)).toFixed(0)} us`).join(' and ')}\n`,
      );
  }
  return best;
}

it('the rank-sum test knows equal times from a shift by a tenth of their spread', () => {
  const spread = (shift: number) => Array.from({ length: 1_000 }, (_, at) => Math.sin(at * 7 + shift) + shift * 0.2);
  expect(rankSumP(spread(0), spread(0))).toBeGreaterThan(0.9);
  expect(rankSumP(spread(0), spread(1))).toBeLessThan(0.001);
  expect(rankSumP([1, 2, 3, 4, 5], [6, 7, 8, 9, 10])).toBeCloseTo(0.0122, 3);
});

it('times tell neither used nor random tickets from unknown pages', {
  timeout: 600_000,
}, async () => {
  const nginx = await startNginx();
  const args = ['--decoy', `http://127.0.0.1:${nginx.port}`, '--own-url', 'wss://relay.example'];
  const relay = await startRelay({ args });
  const forwarder = await startForwarder(nginx.port);
  const { peer, relayGateKey } = decodeInvite(relay.invite ?? '');
  const sealer = new TicketSealer(peer, relayGateKey);
  const upgrade = (segment: string): string =>
    [
      `GET /${segment} HTTP/1.1`,
      'Host: a',
      'Upgrade: websocket',
      'Connection: Upgrade',
      'Sec-WebSocket-Version: 13',
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
      '',
      '',
    ].join('\r\n');
  const used = sealer.seal(FIELDS, Date.now());
  const socket = openRaw(relay.port);
  socket.write(upgrade(used));
  expect(await readUntil(socket, '\r\n\r\n')).toMatch(/^HTTP\/1\.1 101 /);
  const at = (port: number, segment: () => string): Probe => ({ port, request: () => upgrade(segment()) });
  const random = (): string => randomBytes(126).toString('base64url');
  const forged = (): string => {
    const place = 60 + Math.floor(Math.random() * 100);
    return used.slice(0, place) + (used[place] === 'A' ? 'B' : 'A') + used.slice(place + 1);
  };
  // Each has one beside it that is a character shorter, and no ticket: the kernel answers sooner for a name it knows.
  const [known, fixed] = [random().slice(1), random().slice(1)];
  const altered = (): string => forged().slice(1);
  const cases: readonly [string, Probe, Probe][] = [
    ['a page, and another at the forwarder', at(forwarder, () => known), at(forwarder, () => fixed)],
    ['a page, and another', at(relay.port, () => known), at(relay.port, () => fixed)],
    ['a used ticket, and a page', at(relay.port, () => used), at(relay.port, () => fixed)],
    ['random tickets, and pages', at(relay.port, random), at(relay.port, () => random().slice(1))],
  ];
  const found: [string, number][] = [];
  for (const [name, one, other] of cases) found.push([name, await compare(name, one, other)]);
  if (process.env.FIGURES !== undefined) {
    // Not hidden: docs/security.md says so.
    await compare('forged tickets, and pages', at(relay.port, forged), at(relay.port, altered));
    const foreign = (): string => sealer.seal(FIELDS, Date.now(), audienceOf('wss://elsewhere.example'));
    await compare(
      'tickets for another relay, and pages',
      at(relay.port, foreign),
      at(relay.port, () => foreign().slice(1)),
    );
    await compare(
      'a page of the relay, and of the forwarder',
      at(relay.port, () => fixed),
      at(forwarder, () => fixed),
    );
  }
  expect(found.filter(([, p]) => p <= LEAST_P)).toEqual([]);
});
