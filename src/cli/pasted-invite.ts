/**
 * What comes in at the prompt for an invite: keys, a line, a whole mail, in any pieces. Decides when there is an
 * invite, and what is wrong with it. Nothing of the text is ever shown. Pure: whoever reads the terminal tells when it
 * is quiet.
 */
import { WstunError } from '../errors.ts';

/** A mail with a long history. */
const MAX_CHARS = 65_536;
const MAX_TRIES = 3;

export type PromptStep =
  /** The text to show on the prompt's line, in place of the last. */
  | { readonly type: 'more'; readonly shown: string }
  | { readonly type: 'found'; readonly text: string; readonly shown: string }
  /** `isLast`: no more tries. */
  | { readonly type: 'failed'; readonly error: WstunError; readonly isLast: boolean }
  /** Ctrl-C. */
  | { readonly type: 'interrupted' }
  /** Ctrl-D, with nothing before it. */
  | { readonly type: 'closed' };

export class PastedInvite {
  private text = '';
  private tries = 0;

  /** @param check throws a WstunError for a text that is of no use; its `detail` holds nothing of the text */
  constructor(private readonly check: (text: string) => void) {}

  /** Keys, or what was pasted. */
  handleInput(input: string): PromptStep {
    for (const char of input) {
      if (char === '\u0003') return { type: 'interrupted' };
      if (char === '\u0004' && this.text === '') return { type: 'closed' };
      this.handleChar(char);
      if (this.text.length > MAX_CHARS)
        return this.failed(new WstunError('invite-malformed', `it has more than ${MAX_CHARS} characters`));
    }
    return this.more();
  }

  /** Nothing has come for a moment, so that an Enter was the end, and not a line's end in the middle of a paste. */
  handleQuiet(): PromptStep {
    if (!/[\r\n]$/.test(this.text)) return this.more();
    const fault = this.fault();
    const { shown } = this.more();
    if (fault === undefined) return { type: 'found', text: this.text, shown };
    const isWanted = this.text.trim() !== '';
    if (!isWanted) this.text = '';
    // Enter on an empty line ends the wait for the rest.
    const awaitsRest = fault.fault === 'invite-incomplete' && !/[\r\n][^\S\r\n]*[\r\n]+$/.test(this.text);
    return isWanted && !awaitsRest ? this.failed(fault) : this.more();
  }

  private handleChar(char: string): void {
    if (char === '\u007f' || char === '\b') this.text = this.text.slice(0, -1);
    else if (char === '\u0015') this.text = '';
    else this.text += char;
  }

  private failed(error: WstunError): PromptStep {
    this.text = '';
    this.tries++;
    return { type: 'failed', error, isLast: this.tries >= MAX_TRIES };
  }

  private more(): PromptStep & { readonly type: 'more' } {
    const length = withoutKeys(this.text).trim().length;
    if (length === 0) return { type: 'more', shown: '' };
    const fault = this.fault();
    const end = /[\r\n]$/.test(this.text);
    if (fault?.fault === 'invite-incomplete')
      return { type: 'more', shown: `${fault.detail.replace(/^it has /, '')}; paste the rest, or press Enter` };
    const shown = [`${length} characters`];
    if (fault === undefined) shown.push('the checksum fits', ...(end ? [] : ['press Enter']));
    return { type: 'more', shown: shown.join('; ') };
  }

  private fault(): WstunError | undefined {
    try {
      this.check(withoutKeys(this.text));
      return undefined;
    } catch (error) {
      if (error instanceof WstunError) return error;
      throw error;
    }
  }
}

/** Arrow keys, and the marks by which terminals bracket a paste (ECMA-48 §5.4). */
function withoutKeys(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are the keys
  return text.replace(/\u001b(?:\[[0-9;?]*[ -/]*[@-~]|O.)/g, '');
}
