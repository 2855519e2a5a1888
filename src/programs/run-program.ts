/** Runs one program in the place of this process: its input, output, terminal, signals and exit code are its own. */
import { type ChildProcess, spawn } from 'node:child_process';
import { constants } from 'node:os';
import { WstunError } from '../errors.ts';

export interface ProgramRun {
  readonly program: string;
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  /** Whether the kernel itself sends the terminal's signals to the program, as to all in the foreground. */
  readonly hasTerminal: boolean;
}

/** The keys Ctrl-C and Ctrl-\ send these to both. */
const OF_TERMINAL: readonly NodeJS.Signals[] = ['SIGINT', 'SIGQUIT'];
const PASSED_ON: readonly NodeJS.Signals[] = ['SIGTERM', 'SIGHUP', 'SIGUSR1', 'SIGUSR2'];

/**
 * Its exit code, or 128 and the number of the signal that ended it, as a shell has it.
 * @throws WstunError program-missing, program-not-started
 */
export async function runProgram({ program, args, env, hasTerminal }: ProgramRun): Promise<number> {
  const child = start({ program, args, env });
  const ended = outcomeOf(child, program);
  const stop = passSignals(child, hasTerminal);
  try {
    return await ended;
  } finally {
    stop();
  }
}

/** Of some errors of the system Node emits an event, and throws the others. */
function start({ program, args, env }: Omit<ProgramRun, 'hasTerminal'>): ChildProcess {
  try {
    return spawn(program, args, { env, stdio: 'inherit', windowsHide: false });
  } catch (error) {
    throw startFault(program, error instanceof Error && 'code' in error ? String(error.code) : undefined);
  }
}

function outcomeOf(child: ChildProcess, program: string): Promise<number> {
  return new Promise((resolve, reject) => {
    child.once('error', (error: NodeJS.ErrnoException) => {
      // Of a process that runs, this is a signal that could not be sent.
      if (child.pid === undefined) reject(startFault(program, error.code));
    });
    child.once('exit', (code, signal) => resolve(code ?? 128 + constants.signals[signal ?? 'SIGKILL']));
  });
}

function startFault(program: string, code = 'unknown reason'): WstunError {
  if (code === 'ENOENT') return new WstunError('program-missing', program);
  return new WstunError('program-not-started', `${program}: ${REASONS[code] ?? code}`);
}

const REASONS: Readonly<Record<string, string>> = {
  EACCES: 'permission denied',
  E2BIG: 'its arguments are too long',
  ENOTDIR: 'a part of its path is not a directory',
  ENAMETOOLONG: 'its name is too long',
  ERR_INVALID_ARG_VALUE: 'its name is empty',
};

/** Until the function that is returned is called. A handler also keeps a signal from ending this process. */
function passSignals(child: ChildProcess, hasTerminal: boolean): () => void {
  const pass = (signal: NodeJS.Signals) => {
    if (!hasTerminal || !OF_TERMINAL.includes(signal)) child.kill(signal);
  };
  const signals = [...OF_TERMINAL, ...PASSED_ON].filter((signal) => signal in constants.signals);
  for (const signal of signals) process.on(signal, pass);
  return () => {
    for (const signal of signals) process.off(signal, pass);
  };
}
