/** A text file that an option names. It may be a pipe, which a program fills when it has the content. */
import { readFile } from 'node:fs/promises';
import { toldIfLong } from '../async/long-wait.ts';
import { systemClock } from '../clock.ts';

/** Rejects with the error of the file system. */
export function readGivenFile(path: string): Promise<string> {
  return toldIfLong(() => `the content of ${path}`, readFile(path, 'utf8'), systemClock);
}
