/** Real packets of one port on loopback, by tshark, and what tshark reads in them with docs/wstun.lua. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { atEnd } from '../scope.ts';
import { until } from '../until.ts';

const DISSECTOR = fileURLToPath(new URL('../../../docs/wstun.lua', import.meta.url));

const run = promisify(execFile);

export interface Capture {
  /** When all that was sent so far is in the file. */
  stop(): Promise<void>;
}

/** Until tshark begins, after two seconds of work: each connection that it is to find then costs it more. */
const ATTEMPT_EVERY_MS = 50;

/** Resolves when packets are really being taken. Rejects where tshark is missing or may not capture. */
export async function startCapture(port: number, file: string): Promise<Capture> {
  const printPorts = ['-P', '-l', '-T', 'fields', '-e', 'tcp.srcport'];
  const program = spawn('tshark', ['-n', '-i', 'lo', '-f', `tcp port ${port}`, '-w', file, ...printPorts], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  atEnd(() => program.kill('SIGKILL'));
  let complaints = '';
  let failed: Error | undefined;
  program.once('error', (error) => {
    failed = error;
  });
  program.stderr.on('data', (chunk) => {
    complaints += chunk;
  });
  const seenPorts = new Set<number>();
  createInterface(program.stdout).on('line', (line) => seenPorts.add(Number(line)));

  /** A connection whose own port shows up in what was captured: then so has all before it. */
  const probe = async (): Promise<void> => {
    const ports: number[] = [];
    let nextAt = 0;
    const attempt = (): void => {
      const socket = connect(port, '127.0.0.1', () => {
        ports.push(socket.localPort ?? 0);
        socket.destroy();
      });
      socket.on('error', () => {});
    };
    await until(() => {
      if (failed) throw failed;
      if (program.exitCode !== null) throw new Error(`tshark cannot capture: ${complaints}`);
      if (performance.now() >= nextAt) {
        attempt();
        nextAt = performance.now() + ATTEMPT_EVERY_MS;
      }
      return ports.some((used) => seenPorts.has(used));
    }, 10_000);
  };

  await probe();
  return {
    async stop() {
      await probe();
      program.kill('SIGINT');
      if (program.exitCode === null) await once(program, 'exit');
    },
  };
}

/** tshark's words on a capture. */
export async function dissect(file: string, ...options: string[]): Promise<string> {
  const args = ['-n', '-X', `lua_script:${DISSECTOR}`, '-r', file, ...options];
  const { stdout, stderr } = await run('tshark', args, { maxBuffer: 64 * 1024 * 1024 });
  if (/lua|dissector/i.test(stderr)) throw new Error(stderr);
  return stdout;
}

export interface SeenFrame {
  readonly connection: number;
  readonly sourcePort: number;
  readonly type: number;
  readonly stream: number;
  readonly length: number;
}

/** Every frame in the capture, in order. */
export async function framesIn(file: string, ...options: string[]): Promise<SeenFrame[]> {
  const fields = ['tcp.stream', 'tcp.srcport', 'wstun.type', 'wstun.stream', 'wstun.length'].flatMap((name) => [
    '-e',
    name,
  ]);
  const text = await dissect(file, '-Y', 'wstun.type', '-T', 'fields', ...fields, ...options);
  return text
    .split('\n')
    .filter((line) => line !== '')
    .flatMap((line) => {
      const [connection, port, types, streams, lengths] = line.split('\t').map((field) => field.split(',').map(Number));
      return types!.map((type, index) => ({
        connection: connection![0]!,
        sourcePort: port![0]!,
        type,
        stream: streams![index]!,
        length: lengths![index]!,
      }));
    });
}

/** One field wherever it occurs, in order. */
export async function fieldIn(file: string, field: string): Promise<string[]> {
  const text = await dissect(file, '-Y', field, '-T', 'fields', '-e', field);
  return text.split(/[\n,]/).filter((value) => value !== '');
}
