/** Who reads README.md: pastes its blocks into windows with one shell, and waits for what they say. */
import type { Machine } from '../net/small-internet.ts';
import type { Shell, ShellWindow } from '../programs/shell-window.ts';
import { tempDir } from '../temp-dir.ts';
import { type BlockName, block } from './table.ts';
import type { WindowOptions, World } from './world.ts';

const INVITE_LINE = /^ *(wstun (?:client|exit) wstun\w*1_\S+)$/m;

/** Somebody on a machine, with a home directory of their own. */
export interface User {
  readonly at: Machine;
  readonly home: string;
  window(options?: Partial<WindowOptions>): Promise<ShellWindow>;
}

export interface Started {
  readonly window: ShellWindow;
  readonly user: User;
}

export class Reader {
  /** @param bin where wstun is @param pasted gets the name of each block */
  constructor(
    readonly world: World,
    readonly shell: Shell,
    private readonly bin: string,
    private readonly pasted: (name: BlockName) => void,
  ) {}

  async user(at: Machine): Promise<User> {
    const home = await tempDir();
    return { at, home, window: (options) => this.world.window(at, this.shell, { home, path: [this.bin], ...options }) };
  }

  paste(window: ShellWindow, name: BlockName): void {
    this.pasted(name);
    window.paste(block(name));
  }

  /** A block that ends by itself, with 0 in each line. What it printed. */
  async run(window: ShellWindow, name: BlockName): Promise<string> {
    this.paste(window, name);
    return await window.endedWell(block(name).trimEnd().split('\n').length);
  }

  /** A relay at its first start, and the line that it prints for the laptop. */
  async startRelay(
    name: 'selfSigned' | 'acme' | 'behind' | 'decoy',
    options: Partial<WindowOptions> = {},
  ): Promise<Started & { readonly invite: string }> {
    const user = await this.user(this.world.server);
    const window = await user.window(options);
    this.paste(window, name);
    const invite = inviteIn(await window.see(INVITE_LINE));
    return { window, user, invite };
  }

  /** A client at its first start, which asks for the invite. */
  async join(user: User, invite: string, options: Partial<WindowOptions> = {}): Promise<ShellWindow> {
    const window = await user.window(options);
    this.paste(window, 'client');
    await answer(window, invite);
    await window.see('wstun is ready');
    return window;
  }

  /** A page, by a curl that uses the client of that machine. The addresses from which the web site was asked. */
  async fetchThrough({ at, home }: User): Promise<readonly string[]> {
    const { visits } = this.world;
    const before = visits.length;
    const window = await this.world.window(at, this.shell, { home, path: [this.bin] });
    await window.runWell('curl -sS -x socks5h://127.0.0.1:1080 https://example.org/');
    return visits.slice(before).map(({ from }) => from);
  }
}

/** What was printed for the next machine. */
export function inviteIn(shown: string): string {
  const [, line] = INVITE_LINE.exec(shown) ?? [];
  if (line === undefined) throw new Error(`there is no line with an invite:\n${shown}`);
  return line;
}

/** At the prompt for an invite. */
export async function answer(window: ShellWindow, invite: string): Promise<void> {
  await window.see(/Paste .*invite.*press Enter/);
  window.type(`${invite}\n`);
}
