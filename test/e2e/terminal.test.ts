/**
 * What a person sees of a client in a real terminal. With RENEW=1 the screens are kept in docs/pictures/terminal.
 * @module-tag waits
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { closedPort, tcpServer } from '../support/net/tcp.ts';
import { freePort } from '../support/programs/programs.ts';
import { TmuxTerminal } from '../support/programs/tmux.ts';
import { wstunPath } from '../support/programs/wstun-program.ts';
import { invite, startClient, startRelay } from '../support/programs/wstun-stack.ts';
import { connectThrough } from '../support/proxy/through-proxy.ts';
import { tempDir } from '../support/temp-dir.ts';

const PICTURES = join(import.meta.dirname, '../../docs/pictures/terminal');
const LIMIT_MS = 120_000;
const SIZES = [
  { columns: 80, rows: 24 },
  { columns: 120, rows: 40 },
] as const;

async function keep(name: string, columns: number, screen: readonly string[]): Promise<void> {
  if (process.env.RENEW !== '1') return;
  await mkdir(PICTURES, { recursive: true });
  await writeFile(join(PICTURES, `${name}-${columns}.txt`), `${screen.join('\n')}\n`);
}

/** 400 kB/s, until it is closed. */
const fountain = () =>
  tcpServer((socket) => {
    const timer = setInterval(() => socket.write(Buffer.alloc(20_000)), 50);
    socket.on('error', () => {}).on('close', () => clearInterval(timer));
  });

const clientLine = (args: string) => `exec ${process.execPath} ${wstunPath} client ${args}`;
const marks = (screen: readonly string[]) => screen.filter((line) => /^[●◌]/.test(line));

/** Narrower, and back; without pauses too, for a terminal wraps before a program hears of its new width. */
const WIDTHS = [40, 120, 60, 80, 40, 100, 40, 60, 120] as const;

describe.each(SIZES)('a terminal of $columns columns and $rows lines', (size) => {
  it('the last line shows traffic, a lost link, counted failures and what Ctrl-C waits for', {
    timeout: LIMIT_MS,
  }, async () => {
    const relay = await startRelay();
    const secret = await invite(relay, 'alice', { allow: ['127.0.0.1'] });
    const port = await freePort();
    const terminal = await TmuxTerminal.start(clientLine(`--listen 127.0.0.1:${port}`), {
      ...size,
      env: { WSTUN_INVITE: secret },
    });
    await terminal.until(/^● connected {2}/m);
    const target = await fountain();
    const socket = await connectThrough('SOCKS5', port, target);
    socket.on('error', () => {}).resume();
    const connected = await terminal.until(
      /^● connected {2}127\.0\.0\.1 {2}1 stream {2}↓ [\d.]+ [kM]B\/s ↑ \d+ k?B\/s {2}\d+ ms$/m,
    );
    expect(marks(connected)).toHaveLength(1);
    expect(connected.at(-1)).toMatch(/^●/);
    await keep('connected', size.columns, connected);

    await terminal.resize(40, 24);
    const half = await terminal.until(/^● connected {2}↓ [\d.]+ [kM]?B\/s ↑ \d+ k?B\/s$/m);
    expect(marks(half)).toHaveLength(1);
    await terminal.resize(20, 24);
    const narrow = await terminal.until(/^● connected$/m);
    expect(marks(narrow)).toHaveLength(1);
    for (const columns of WIDTHS) {
      await terminal.resize(columns, 24);
      expect(marks(await terminal.screen()).length).toBeLessThanOrEqual(1);
    }
    for (const columns of [...WIDTHS, size.columns]) {
      await terminal.resize(columns, size.rows);
      const shown = await terminal.until(columns < 60 ? /^● connected {2}↓.*\d [kM]?B\/s$/m : /^● connected.* ms$/m);
      expect(shown.filter((line) => /[●↓]|\bms$/.test(line))).toEqual([shown.at(-1)]);
    }

    await relay.process.kill();
    const lost = await terminal.until(
      /^◌ link lost \d+ s( ago)?: 1 connection waits( for)? up to \d:\d\d; next( attempt)? in \d+ s/m,
    );
    await keep('link-lost', size.columns, lost);
    const counted = await terminal.until(/^connection refused ×[3-9] since \d\d:\d\d:\d\d\n◌ link lost .*Enter: now/m);
    // The first attempt after an abort may have failed for another reason.
    expect(counted.filter((line) => line.includes('WSTUN-E201')).length).toBeLessThanOrEqual(2);
    expect(marks(counted)).toHaveLength(1);
    await keep('counted-failures', size.columns, counted);

    await terminal.press('C-c');
    const closing = await terminal.until(/^closing: 1 connection is still open.*; \d+ s at most/m);
    await keep('ctrl-c', size.columns, closing);
    await terminal.press('C-c');
    const ended = await terminal.until(/^\d\d:\d\d:\d\d ended by SIGINT$/m);
    expect(marks(ended)).toEqual([]);
  });
});

describe.each(SIZES)('a terminal of $columns columns and $rows lines with --tether', (size) => {
  it('while a code is shown, its heading and all its rows stay on the screen, and failures are counted below it', {
    timeout: LIMIT_MS,
  }, async () => {
    const relay = await startRelay();
    const secret = await invite(relay, 'alice', { url: `ws://127.0.0.1:${await closedPort()}` });
    const terminal = await TmuxTerminal.start(clientLine('--listen 127.0.0.1:0 --tether 127.0.0.1:0'), {
      ...size,
      env: { WSTUN_INVITE: secret },
    });
    const shown = await terminal.until(/^◌ waiting for a phone.*connection refused ×[3-9]/m);
    expect(shown.slice(0, 2)).toEqual([
      expect.stringMatching(/^Scan this with a phone/),
      expect.stringMatching(/^ {2}http:\/\/127\.0\.0\.1:\d+\/#[\w-]{22}$/),
    ]);
    expect(shown.filter((line) => /[█▀▄]{3}/.test(line)).length).toBeGreaterThanOrEqual(15);
    expect(marks(shown)).toEqual([shown.at(-1)]);
    await keep('code', size.columns, shown);
    await terminal.press('Enter');
    const firstCode = shown[1]?.split('#')[1] ?? '';
    const again = await terminal.until(new RegExp(`^ {2}http://127\\.0\\.0\\.1:\\d+/#(?!${firstCode})`, 'm'));
    expect(marks(again).length).toBeLessThanOrEqual(1);
  });
});

describe('wstun status --watch', () => {
  it('`wstun status --watch` keeps to a terminal that is lower, narrower, and wider again, and leaves it as it was', {
    timeout: LIMIT_MS,
  }, async () => {
    const env = { XDG_STATE_HOME: await tempDir() };
    const relay = await startRelay();
    const client = await startClient(await invite(relay, 'alice', { allow: ['127.0.0.1'] }), { env });
    const target = await tcpServer((socket) => socket.on('error', () => {}));
    const sockets = await Promise.all(Array.from({ length: 30 }, () => connectThrough('SOCKS5', client.port, target)));
    for (const socket of sockets) socket.on('error', () => {});
    // Ctrl-C is meant for wstun; the shell goes on.
    const terminal = await TmuxTerminal.start(
      `trap : INT; ${process.execPath} ${wstunPath} status --watch; echo the shell; exec cat`,
      { columns: 80, rows: 24, env },
    );
    const whole = await terminal.until(/^… \d+ more lines in a taller terminal$/m);
    expect(whole[0]).toMatch(/^wstun client at 127\.0\.0\.1:\d+ /);
    expect(whole).toHaveLength(23);
    for (const [columns, rows] of [
      [40, 12],
      [60, 24],
      [30, 8],
      [80, 24],
    ] as const) {
      await terminal.resize(columns, rows);
      const shown = await terminal.until(
        new RegExp(`^wstun client at (?:.*\n){${rows - 2}}… \\d+ more lines.*(?![^])`),
      );
      expect(shown).toHaveLength(rows - 1);
      expect(shown.every((line) => [...line].length < columns)).toBe(true);
    }
    await terminal.resize(100, 50);
    await terminal.until(/^ {2}and 10 older$/m);
    await terminal.press('C-c');
    const ended = await terminal.until(/^(\^C)?the shell$/m);
    expect(ended.at(-1)).toMatch(/the shell$/);
    expect(await terminal.modes()).toEqual({ cursor: true, wrap: true });
  });
});

describe('the environment', () => {
  it.each(['TERM=dumb', 'CI=true'])(
    'with %s there is no line at the bottom, and no escape sequence',
    async (setting) => {
      const relay = await startRelay();
      const secret = await invite(relay, 'alice');
      const terminal = await TmuxTerminal.start(
        `${setting} ${clientLine('--listen 127.0.0.1:0').replace(/^exec /, '')}`,
        {
          ...{ columns: 120, rows: 60 },
          env: { WSTUN_INVITE: secret },
        },
      );
      const screen = await terminal.until(/Press Ctrl-C to stop/);
      expect(marks(screen)).toEqual([]);
      expect(screen.join('\n')).toMatch(/^\d\d:\d\d:\d\d connecting to 127\.0\.0\.1:\d+ …$/m);
    },
  );
});
