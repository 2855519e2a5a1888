/**
 * Adds an `ETag` to the next answer of an upstream: the gate's proof for a peer it knows (docs/protocol.md §2.2). Pure.
 * Everything else of the answer stays as it is. What does not look like an answer goes on without it.
 */

/** Larger heads go on without the field: the peer tries again. */
const MAX_HEAD_BYTES = 16 * 1024;
const HEAD_END = Buffer.from('\r\n\r\n');
const STATUS_LINE = /^HTTP\/1\.[01] (\d{3})/;

export class ProofHeader {
  private kept: Buffer = Buffer.alloc(0);

  /** @param etag with its quotation marks */
  constructor(private readonly etag: string) {}

  /** What goes on to the peer, now that `bytes` have come; `isDone`: everything after it goes on as it comes. */
  add(bytes: Buffer): { readonly out: Buffer; readonly isDone: boolean } {
    let all = Buffer.concat([this.kept, bytes]);
    const before: Buffer[] = [];
    for (;;) {
      const end = all.indexOf(HEAD_END);
      if (end < 0) break;
      const head = all.toString('latin1', 0, end);
      const status = Number(STATUS_LINE.exec(head)?.[1]);
      // Informational responses come before the answer, except for 101, which is one (RFC 9110 §15.2).
      if (status >= 100 && status < 200 && status !== 101) {
        before.push(all.subarray(0, end + HEAD_END.length));
        all = all.subarray(end + HEAD_END.length);
        continue;
      }
      if (!(status >= 200)) break;
      const proved = Buffer.from(this.withProof(head), 'latin1');
      return { out: Buffer.concat([...before, proved, all.subarray(end)]), isDone: true };
    }
    const mayFollow = all.length <= MAX_HEAD_BYTES && 'HTTP/1.'.startsWith(all.toString('latin1', 0, 7));
    const isAnswer = mayFollow && all.indexOf(HEAD_END) < 0;
    this.kept = isAnswer ? all : Buffer.alloc(0);
    return { out: Buffer.concat(isAnswer ? before : [...before, all]), isDone: !isAnswer };
  }

  /** What is kept, when nothing more comes. */
  rest(): Buffer {
    return this.kept;
  }

  private withProof(head: string): string {
    const lines = head.split('\r\n').filter((line, at) => at === 0 || !/^etag:/i.test(line));
    return [...lines, `ETag: ${this.etag}`].join('\r\n');
  }
}
