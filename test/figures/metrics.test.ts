/** What a reading of metrics costs a relay with a thousand sessions. `FIGURES=1` prints it. */
import { expect, it } from 'vitest';
import { ipTarget } from '../support/net/targets.ts';
import { echo, tcpServer } from '../support/net/tcp.ts';
import { beginAll, crowdedRelay, SESSIONS_OF_BEARER } from '../support/programs/crowded-relay.ts';
import { freePort } from '../support/programs/programs.ts';

const PEERS = 63;
const SESSIONS = PEERS * SESSIONS_OF_BEARER;
const READINGS = 100;
/** Of processor time, as a process of a machine that is busy with tests; on an idle one it is a third. */
const READING_LIMIT_MS = 15;

async function read(port: number): Promise<string> {
  return await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
}

function valueIn(text: string, key: string): number {
  const line = text.split('\n').find((each) => each.startsWith(`${key} `)) ?? '';
  return Number(line.slice(key.length));
}

/** ms */
function processorTime(text: string): number {
  const modes = ['user', 'system'].map((mode) => valueIn(text, `wstun_process_cpu_seconds_total{mode="${mode}"}`));
  return modes.reduce((sum, each) => sum + each, 0) * 1000;
}

it(`a reading of metrics costs a relay with ${SESSIONS} sessions and as many streams ${READING_LIMIT_MS} ms of processor time at most`, {
  timeout: 300_000,
}, async () => {
  const port = await freePort();
  const allow = ['127.0.0.1'];
  const { invites } = await crowdedRelay(PEERS, { args: ['--admin', `127.0.0.1:${port}`], allow });
  const sessions = await beginAll(invites);
  const echoing = await tcpServer(echo);
  const { signal } = new AbortController();
  for (const session of sessions) await session.open(ipTarget('127.0.0.1', echoing), signal);
  // The first ones also cost what is compiled once.
  for (let i = 0; i < READINGS; i++) await read(port);
  const before = await read(port);
  expect(valueIn(before, 'wstun_sessions{state="attached"}')).toBe(SESSIONS);
  expect(valueIn(before, 'wstun_streams_open')).toBe(SESSIONS);
  for (let i = 1; i < READINGS; i++) await read(port);
  const cost = (processorTime(await read(port)) - processorTime(before)) / READINGS;
  if (process.env.FIGURES !== undefined)
    process.stderr.write(`a reading with ${SESSIONS} sessions: ${cost.toFixed(2)} ms, ${before.length} bytes\n`);
  for (const session of sessions) session.end('session-closed');
  expect(cost).toBeLessThan(READING_LIMIT_MS);
});
