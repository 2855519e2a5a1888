/** On which line each key of a TOML text stands: the parser does not tell. For a text that has been parsed. Pure. */

/** Of a table: the line of its header. Paths are keys joined by `pathOf`. */
export type TomlLines = ReadonlyMap<string, number>;

const SEPARATOR = '\0';

export function pathOf(keys: readonly string[]): string {
  return keys.join(SEPARATOR);
}

/** The line of that key, else of the table that is nearest above it: an inline table is one line. From 1 on. */
export function lineOf(lines: TomlLines, keys: readonly string[]): number {
  for (let length = keys.length; length > 0; length--) {
    const line = lines.get(pathOf(keys.slice(0, length)));
    if (line !== undefined) return line;
  }
  return 1;
}

const BARE = /[A-Za-z0-9_-]+/y;
const BASIC = /"((?:[^"\\\n]|\\.)*)"/y;
const LITERAL = /'([^'\n]*)'/y;
/** Whatever may be a value's part, longest first: texts of several lines, texts, comments, one character. */
const VALUE_PART = /"""(?:\\[\s\S]|[^\\])*?"{3,5}|'''[\s\S]*?'{3,5}|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|#[^\n]*|[\s\S]/y;

export function linesOfKeys(text: string): TomlLines {
  return new Scanner(text).scan();
}

class Scanner {
  private readonly lines = new Map<string, number>();
  private at = 0;
  private line = 1;
  private table: readonly string[] = [];

  constructor(private readonly text: string) {}

  scan(): TomlLines {
    while (this.at < this.text.length) {
      this.skipBlank();
      if (this.at >= this.text.length) break;
      if (this.text[this.at] === '[') this.readHeader();
      else this.readEntry();
    }
    return this.lines;
  }

  private readHeader(): void {
    while (this.text[this.at] === '[') this.at++;
    this.table = this.readKeys();
    this.note(this.table);
    this.skipLine();
  }

  private readEntry(): void {
    const keys = this.readKeys();
    this.note([...this.table, ...keys]);
    if (this.text[this.at] === '=') this.skipValue();
    else this.skipLine();
  }

  /** A dotted key also creates the tables above it. */
  private note(keys: readonly string[]): void {
    for (let length = 1; length <= keys.length; length++) {
      const path = pathOf(keys.slice(0, length));
      if (!this.lines.has(path)) this.lines.set(path, this.line);
    }
  }

  private readKeys(): string[] {
    const keys: string[] = [];
    for (;;) {
      this.take(/[ \t]*/y);
      const key = this.take(BARE)?.[0] ?? this.take(BASIC)?.[1] ?? this.take(LITERAL)?.[1];
      if (key === undefined) return keys;
      keys.push(key);
      this.take(/[ \t]*/y);
      if (this.take(/\./y) === undefined) return keys;
    }
  }

  /** To the end of its line, which is not within a text, an array or an inline table. */
  private skipValue(): void {
    let depth = 0;
    for (;;) {
      const part = this.take(VALUE_PART)?.[0];
      if (part === undefined || (part === '\n' && depth === 0)) return;
      if (part === '[' || part === '{') depth++;
      if (part === ']' || part === '}') depth--;
    }
  }

  private skipBlank(): void {
    while (this.take(/[ \t\r\n]+|#[^\n]*/y) !== undefined);
  }

  private skipLine(): void {
    this.take(/[^\n]*\n?/y);
  }

  /** What matches here, counting its lines. */
  private take(form: RegExp): RegExpExecArray | undefined {
    form.lastIndex = this.at;
    const match = form.exec(this.text);
    if (match === null || match[0] === '') return undefined;
    this.at += match[0].length;
    for (const character of match[0]) if (character === '\n') this.line++;
    return match;
  }
}
