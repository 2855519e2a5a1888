/** One request of Node's as an HttpExchange: its events, each passed on once, whatever else Node emits. */
import type { Readable } from 'node:stream';
import type { AnswerHandler, HttpExchange } from '../http/http-requester.ts';

export class AnswerRelay implements HttpExchange {
  private source: Readable | undefined;
  private paused = false;
  private over = false;

  constructor(
    private readonly handler: AnswerHandler,
    private readonly destroy: () => void,
  ) {}

  get isOver(): boolean {
    return this.over;
  }

  pause(): void {
    this.paused = true;
    this.source?.pause();
  }

  resume(): void {
    this.paused = false;
    this.source?.resume();
  }

  abort(): void {
    if (this.over) return;
    this.over = true;
    this.destroy();
  }

  /** @param isWhole once the source has ended: whether all of the content was there */
  answer(status: number, header: (name: string) => string | undefined, source: Readable, isWhole: () => boolean): void {
    if (this.over) return void source.resume();
    this.source = source;
    this.handler.handleHead(status, header);
    source.on('data', (chunk: Buffer) => {
      if (!this.over) this.handler.handleBody(chunk);
    });
    source.on('end', () => {
      if (isWhole()) this.end();
      else this.fail(new Error('the answer was cut'));
    });
    source.on('error', (error: Error) => this.fail(error));
    source.on('close', () => this.fail(new Error('the answer was cut')));
    if (this.paused) source.pause();
  }

  fail(error: unknown): void {
    if (this.over) return;
    this.over = true;
    this.handler.handleFault(error);
    this.destroy();
  }

  private end(): void {
    if (this.over) return;
    this.over = true;
    this.handler.handleEnd();
  }
}
