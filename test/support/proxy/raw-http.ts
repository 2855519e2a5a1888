import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { connect as tlsConnect } from 'node:tls';

export interface RawAnswer {
  /** Every byte that came, as latin1. */
  readonly bytes: string;
  /** How the connection ended: by the server's FIN, by a reset, or not within the limit. */
  readonly end: 'fin' | 'reset' | 'open';
}

export interface RawOptions {
  readonly tls?: boolean;
  readonly limitMs?: number;
}

/** Sends bytes as they are and reads until the server ends the connection. */
export async function rawExchange(
  port: number,
  request: string | Buffer,
  options: RawOptions = {},
): Promise<RawAnswer> {
  const socket = openRaw(port, options.tls);
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  const end = new Promise<RawAnswer['end']>((resolve) => {
    socket.once('end', () => resolve('fin'));
    socket.once('error', () => resolve('reset'));
    socket.once('close', () => resolve('reset'));
    setTimeout(() => resolve('open'), options.limitMs ?? 5000).unref();
  });
  socket.write(request);
  const how = await end;
  socket.destroy();
  return { bytes: Buffer.concat(chunks).toString('latin1'), end: how };
}

export function openRaw(port: number, tls = false): Socket {
  return tls ? tlsConnect({ port, host: '127.0.0.1', rejectUnauthorized: false }) : connect(port, '127.0.0.1');
}

/** An answer with its date made the same for all. */
export function withoutDate(bytes: string): string {
  return bytes.replaceAll(/^Date: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT\r$/gm, 'Date: *\r');
}

/** What the server sends until it holds `text`; the connection is closed then, although the server would keep it. */
export async function rawAnswer(port: number, request: string, text: string): Promise<string> {
  const socket = openRaw(port);
  socket.write(request);
  const answer = await readUntil(socket, text);
  socket.destroy();
  return answer;
}

/** Resolves with what came, once it holds `text`. */
export async function readUntil(socket: Socket, text: string): Promise<string> {
  let got = '';
  while (!got.includes(text)) {
    const [chunk] = (await once(socket, 'data')) as [Buffer];
    got += chunk.toString('latin1');
  }
  return got;
}
