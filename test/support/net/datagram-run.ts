/**
 * Datagrams of random lengths to an echo and back. Only so many are on their way at once: what is lost is then lost by
 * what is tested, not by a burst.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { PATIENCE } from '../patience.ts';
import { prng } from '../prng.ts';
import { until } from '../until.ts';
import { UdpClient } from './udp.ts';

const MOST_UNANSWERED = 32;
/** Then those that have not come back are lost, ms. */
const LOST_AFTER_MS = 1_000;

export interface DatagramRun {
  /** Where a datagram goes in, with what is to stand before its data. */
  readonly port: number;
  readonly header?: Uint8Array;
  readonly count: number;
  readonly seed: number;
}

export interface DatagramOutcome {
  readonly answered: number;
  /** Answers that are no datagram that was sent, or that came after a later one. */
  readonly wrong: number;
}

/** Sends back what it gets, to whom it came from. Returns its port. */
export async function udpEcho(host = '127.0.0.1'): Promise<UdpClient> {
  const echo = await UdpClient.open(host);
  echo.socket.on('message', (bytes, { port, address }) => {
    echo.received.length = 0;
    echo.socket.send(bytes, port, address);
  });
  return echo;
}

/** 1 to 1,400 bytes each. */
export async function runDatagrams({
  port,
  header = new Uint8Array(0),
  count,
  seed,
}: DatagramRun): Promise<DatagramOutcome> {
  const client = await UdpClient.open();
  const random = prng(seed);
  const sent: Buffer[] = [];
  let lost = 0;
  for (let n = 0; n < count; n++) {
    const data = Buffer.from(Uint8Array.from({ length: 1 + random.below(1_400) }, () => random.below(256)));
    sent.push(data);
    await client.send(Buffer.concat([header, data]), port);
    if (sent.length - client.received.length - lost < MOST_UNANSWERED) continue;
    const limit = performance.now() + LOST_AFTER_MS * PATIENCE;
    const isAnswered = () => sent.length - client.received.length - lost < MOST_UNANSWERED;
    while (!isAnswered() && performance.now() < limit) await delay(1);
    if (client.received.length === 0) throw new Error('no datagram came back');
    if (!isAnswered()) lost = sent.length - client.received.length;
  }
  await until(() => client.received.length + lost >= sent.length).catch(() => {});
  return judge(
    sent,
    client.received.map(({ bytes }) => bytes.subarray(header.length)),
  );
}

function judge(sent: readonly Buffer[], received: readonly Buffer[]): DatagramOutcome {
  let at = 0;
  let wrong = 0;
  for (const bytes of received) {
    const found = sent.findIndex((one, index) => index >= at && one.equals(bytes));
    if (found < 0) wrong++;
    else at = found + 1;
  }
  return { answered: received.length, wrong };
}
