/** A TCP proxy that keeps every byte that crosses it, and the search for what must not be among them. */
import { connect, type Socket } from 'node:net';
import { atEnd } from '../scope.ts';
import { tcpServer } from './tcp.ts';

export interface RecordingProxy {
  readonly port: number;
  /** Each direction of each connection, so far. */
  recorded(): Buffer[];
}

/** Until the test is over. */
export async function recordingProxy(targetPort: number): Promise<RecordingProxy> {
  const directions: Buffer[][] = [];
  const port = await tcpServer((near) => {
    const far = connect({ host: '127.0.0.1', port: targetPort, noDelay: true });
    far.on('error', () => near.destroy());
    near.on('close', () => far.destroy());
    atEnd(() => far.destroy());
    directions.push(record(near, far), record(far, near));
  });
  return { port, recorded: () => directions.map((chunks) => Buffer.concat(chunks)) };
}

function record(from: Socket, to: Socket): Buffer[] {
  const chunks: Buffer[] = [];
  from.on('data', (chunk: Buffer) => chunks.push(chunk));
  from.pipe(to);
  return chunks;
}

/** The forms in which bytes could cross: as they are, as hex, and as base64 at each of its three alignments. */
function formsOf(secret: Buffer): Buffer[] {
  const base64 = [0, 1, 2].flatMap((shift) => {
    const whole = Math.floor((secret.length - shift) / 3) * 3;
    const aligned = secret.subarray(shift, shift + whole);
    return [aligned.toString('base64'), aligned.toString('base64url')];
  });
  const hex = secret.toString('hex');
  return [secret, ...[hex, hex.toUpperCase(), ...base64].map((text) => Buffer.from(text))];
}

/** How often a secret occurs, in any form. */
export function occurrences(secret: Buffer, recorded: readonly Buffer[]): number {
  let count = 0;
  for (const form of new Map(formsOf(secret).map((bytes) => [bytes.toString('latin1'), bytes])).values())
    for (const bytes of recorded)
      for (let at = bytes.indexOf(form); at >= 0; at = bytes.indexOf(form, at + 1)) count += 1;
  return count;
}
