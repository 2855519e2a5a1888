/** `wstun status --cluster`: what all relays of a cluster do, as text or JSON, once or every second. */
import { type RelayInCluster, readClusterStatus } from '../app/cluster-status.ts';
import { type ClusterTexts, clusterPlaceOf } from './access-place.ts';
import { printLine } from './output.ts';
import { statusText } from './status-text.ts';
import { tableLines } from './table.ts';
import { counted } from './terminal/quantities.ts';
import { safeText } from './terminal/safe-text.ts';
import { wholeScreen } from './terminal/whole-screen.ts';

export interface ClusterStatusOptions extends ClusterTexts {
  readonly json?: boolean;
  readonly watch?: boolean;
}

const WATCH_MS = 1_000;

/** @throws WstunError bad-cluster, cluster-away */
export async function showClusterStatus(options: ClusterStatusOptions): Promise<void> {
  const place = clusterPlaceOf(options);
  if (place === undefined) return;
  let isRead = true;
  process.stdout.once('error', () => {
    isRead = false;
  });
  do {
    print(await readClusterStatus(place), options);
    if (options.watch === true) await new Promise((resolve) => setTimeout(resolve, WATCH_MS));
  } while (options.watch === true && isRead);
}

function print(relays: readonly RelayInCluster[], { json = false, watch = false }: ClusterStatusOptions): void {
  if (json) {
    for (const { node, url, status } of relays) printLine(JSON.stringify({ node, url, ...status }));
    return;
  }
  const text = [summary(relays), ...relays.map((relay) => relayText(relay))].join('\n\n');
  const { isTTY, columns, rows } = process.stdout;
  if (watch && isTTY) process.stdout.write(wholeScreen(text, { columns: columns || 80, rows: rows || 24 }));
  else printLine(watch ? `${text}\n` : text);
}

/** Which relays, and which exits at which of them. */
function summary(relays: readonly RelayInCluster[]): string {
  const exits = new Map<string, string[]>();
  for (const { node, status } of relays)
    for (const { name } of status.exits) exits.set(name, [...(exits.get(name) ?? []), node]);
  const clients = relays.reduce((sum, { status }) => sum + status.peerCount, 0);
  const counts = [counted(relays.length, 'relay'), counted(exits.size, 'exit'), counted(clients, 'client')];
  const byName = [...exits].sort(([a], [b]) => (a < b ? -1 : 1));
  const rows = byName.map(([name, nodes]) => [`  ${safeText(name)}`, `at ${nodes.join(', ')}`]);
  return [counts.join(', '), ...tableLines(rows)].join('\n');
}

function relayText({ node, url, status }: RelayInCluster): string {
  return `${node} at ${safeText(url)}\n${statusText(status, Date.now())}`;
}
