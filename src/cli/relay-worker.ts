/** A worker process of `wstun relay --workers`: a relay beside others, which its parent process starts and ends. */
import { rmSync } from 'node:fs';
import type { Socket } from 'node:net';
import { startNode } from '../app/relay.ts';
import type { Measured, Readiness, RelayNode } from '../app/relay-node.ts';
import { WstunError } from '../errors.ts';
import { SharedLoad } from '../relay/shared-load.ts';
import { post } from '../workers/handed-connections.ts';
import type { Envelope, WorkerEvent } from '../workers/messages.ts';
import type { Failure } from '../workers/processes.ts';
import type { WorkerStart } from '../workers/worker-environment.ts';
import { WorkerNode } from '../workers/worker-node.ts';
import type { Settled } from './config/settle.ts';
import { Output } from './output.ts';
import { followRelayConfig, type RelayCommand, relayOptionsOf } from './relay.ts';

/** Of a worker that was told to end: what is left then, is left by a defect, ms. */
const EXIT_MS = 1_000;

/** Resolves when it serves. Its parent says when it ends. */
export async function runWorker(start: WorkerStart, options: RelayCommand, settled: Settled): Promise<void> {
  // They come to all processes of a terminal or a service: the parent decides what follows.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {});
  // The parent prints what a person or a program is to read.
  const output = new WorkerOutput({ ...options, json: false, quiet: options.quiet, logFormat: logFormatOf(options) });
  try {
    await serve(start, options, output, settled);
  } catch (error) {
    const { fault, detail, fix } = error instanceof WstunError ? error : new WstunError('internal', String(error));
    const failure: Failure = { failed: { fault, detail, fix } };
    process.send?.(failure, () => process.exit(1));
  }
}

async function serve(start: WorkerStart, options: RelayCommand, output: Output, settled: Settled): Promise<void> {
  const { id, instance, count, directory, passed, adminPort } = start;
  const load = new SharedLoad();
  let measured: Measured | undefined;
  const reports: Readonly<Record<string, () => unknown>> = {
    status: () => relay.status(),
    metrics: () => measured?.collect(),
    readiness: () => readinessOf(measured),
  };
  const closed = { by: (_graceMs: number): void => process.exit(0), reload: (): void => {} };
  let isTold = false;
  const node = new WorkerNode({
    ...{ id, directory, logger: output.logger },
    // A parent that has gone ends its workers, in whatever state they are.
    post: (envelope, socket) => post(process, envelope, socket),
    onClose: (graceMs) => {
      isTold = true;
      closed.by(graceMs);
    },
    onReload: () => closed.reload(),
    report: async (of) => reports[of]?.(),
  });
  process.on('message', (envelope: Envelope, socket?: Socket) => node.receive(envelope, socket));
  // The parent has ended before its workers, and so cannot remove it.
  process.once('exit', () => {
    if (!isTold && !process.connected) rmSync(directory, { recursive: true, force: true });
  });
  await node.start();
  const onMeasured = (given: Measured): void => {
    measured = given;
  };
  const relayNode: RelayNode = {
    ...{ rendezvous: node, places: node, others: node, load, challenges: node.challenges, instance, count },
    ...(adminPort !== undefined && { onMeasured, ownPorts: [adminPort] }),
  };
  const { admin: _ofTheParent, ...relayOptions } = relayOptionsOf(options, passed);
  const relay = await startNode({ ...relayOptions, logger: output.logger }, relayNode);
  node.shareLoad(load);
  const config = followRelayConfig(relay, output, settled);
  closed.reload = () => void config.reload();
  closed.by = (graceMs) => void relay.close(graceMs).then(() => end(node));
  const { listen, hasCertificate, url, urls, pins, urlSource, urlFault, state, firstInvite } = relay;
  node.ready({ listen, hasCertificate, url, urls, pins, urlSource, urlFault, state, firstInvite, admin: undefined });
}

/** Its events go to the parent. */
class WorkerOutput extends Output {
  override event(event: WorkerEvent): void {
    post(process, { note: 'event', event });
  }
}

function readinessOf(measured: Measured | undefined): Readiness {
  if (measured === undefined) return { why: 'starting' };
  return { why: measured.whyNotReady(), lacking: measured.lacking() };
}

function end(node: WorkerNode): void {
  node.stop();
  process.disconnect?.();
  setTimeout(() => process.exit(0), EXIT_MS).unref();
}

function logFormatOf({ logFormat, json = false }: RelayCommand): NonNullable<RelayCommand['logFormat']> {
  return logFormat ?? (json ? 'json' : 'text');
}
