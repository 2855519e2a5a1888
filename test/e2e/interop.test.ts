/**
 * A second implementation of docs/protocol.md, in Python (test/interop), against the real programs. It was written from
 * that page alone: what the two disagree about is a defect of the program or of the page.
 */
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { exchange } from '../support/payload.ts';
import { runWell } from '../support/programs.ts';
import { echo, tcpServer } from '../support/tcp.ts';
import { connectThrough } from '../support/through-proxy.ts';
import { type WstunEvent, WstunProcess } from '../support/wstun-process.ts';
import { invite, startBehindRelay, startClient, startRelay } from '../support/wstun-stack.ts';

/** Debian's, which has the packages that install-programs.sh installs. */
const PYTHON = '/usr/bin/python3';
const PEER = join(import.meta.dirname, '../interop');
const TEN_MB = 10_000_000;
const SUITES = [
  ['ChaChaPoly', 1],
  ['AESGCM', 2],
] as const;
const ALLOWED = { allow: ['127.0.0.0/8'], args: ['--sessions', '200'] };

/** Runs a program of test/interop to its end; what it says. */
async function peer(program: string, args: readonly (string | number)[], secret = ''): Promise<WstunEvent[]> {
  const command = ['-B', join(PEER, program), ...args.map(String)];
  const stdout = await runWell(PYTHON, command, { env: { WSTUN_INVITE: secret }, limitMs: 60_000 });
  return stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as WstunEvent);
}

/** The relay's own exit, and an invite to it. */
async function ownExit(): Promise<string> {
  return invite(await startRelay(), 'peer', ALLOWED);
}

/** An exit in Python, registered at a relay without one; invites to it. @param records after so many it aborts a link */
async function pythonExit({ records = 0 } = {}): Promise<{ process: WstunProcess; invites: string[] }> {
  const relay = await startRelay({ args: ['--no-exit'] });
  const registration = await invite(relay, 'home', { args: ['--role', 'exit'] });
  const args = ['-B', join(PEER, 'exit_serving.py'), String(records)];
  const process = new WstunProcess(args, { through: PYTHON, env: { WSTUN_INVITE: registration } });
  const { invites } = await process.event('ready');
  return { process, invites: invites as string[] };
}

/** What basics.py says where all is well. */
function basics({ mayWait }: { mayWait: boolean }): WstunEvent[] {
  const resets = { resetByTarget: 'reset: target-reset', resetSeenByTarget: 'reset' };
  const dials = { refused: 'failed: dial-refused', notAllowed: 'failed: dial-not-allowed' };
  const session = { event: 'basics', echo: 'hello, echo', pong: '12345678', up: true, down: true, mayWait };
  return [
    { ...session, ...resets, ...dials },
    { event: 'closed', how: 'close 1000' },
  ];
}

/** What resume.py says where no byte was lost, and none came twice. */
const RESUMED: WstunEvent[] = [
  { event: 'echo', same: true, links: 20, busy: 20, retransmitted: true },
  { event: 'old-link', same: true, cameTwice: true },
];

describe('the vectors of docs/protocol.md', () => {
  // What the product makes of them: test/protocol/vectors.test.ts.
  it('the Python peer makes and reads each vector of appendix A as the page has it', async () => {
    const [said] = await peer('vectors.py', [join(import.meta.dirname, '../../docs/protocol.md')]);
    expect(said).toMatchObject({ wrong: [], unread: [], onlyOnPage: [], onlyHere: [] });
    expect(said?.count).toBeGreaterThan(100);
  });
});

describe('a client in Python, at the relay’s own exit', () => {
  it.each(SUITES)(
    'a Python client transfers 10 MB each way with %s, and sees half-close, resets, PONG, refused dials and the end',
    async (_, suite) => {
      // This peer offers `may wait` with the second suite alone.
      expect(await peer('basics.py', [suite], await ownExit())).toEqual(basics({ mayWait: suite === 2 }));
    },
  );

  it.each(SUITES)(
    'a Python client resumes a session with %s over 20 aborted links while both directions are busy',
    async (_, suite) => {
      expect(await peer('resume.py', [suite], await ownExit())).toEqual(RESUMED);
    },
  );

  it('a Python client and an exit go on after a rekey in both directions, with ChaChaPoly and with AESGCM', async () => {
    const secret = await ownExit();
    const said = await Promise.all(SUITES.map(([, suite]) => peer('rekey.py', [suite], secret)));
    for (const [event] of said) expect(event).toEqual({ event: 'rekey', same: true, rekeysOut: 1, rekeysIn: 1 });
  });
});

describe('a client in Python, at a named exit', () => {
  it('a Python client transfers 10 MB each way and resumes its session through `wstun exit`', async () => {
    const { exit } = await startBehindRelay();
    const secret = await invite(exit, 'peer', ALLOWED);
    expect(await peer('basics.py', [1], secret)).toEqual(basics({ mayWait: false }));
    expect(await peer('resume.py', [2], secret)).toEqual(RESUMED);
  });

  it('a Python client transfers 10 MB each way and resumes its session through a Python exit and a relay', async () => {
    const { invites } = await pythonExit();
    expect(await peer('basics.py', [2], invites[0])).toEqual(basics({ mayWait: false }));
    expect(await peer('resume.py', [1], invites[1])).toEqual(RESUMED);
  });
});

describe('a named exit in Python', () => {
  it('`wstun client` transfers 10 MB each way through a Python exit', async () => {
    const { invites } = await pythonExit();
    const client = await startClient(invites[0] ?? '');
    const socket = await connectThrough('SOCKS5', client.port, await tcpServer(echo));
    const { sent, received } = await exchange(socket, TEN_MB);
    expect(received).toEqual({ bytes: TEN_MB, hash: sent });
  });

  it('`wstun client` loses no byte while a Python exit aborts its links again and again', async () => {
    const { process, invites } = await pythonExit({ records: 150 });
    const client = await startClient(invites[0] ?? '');
    const socket = await connectThrough('SOCKS5', client.port, await tcpServer(echo));
    const { sent, received } = await exchange(socket, TEN_MB);
    expect(received).toEqual({ bytes: TEN_MB, hash: sent });
    expect(process.events.filter(({ event }) => event === 'aborted').length).toBeGreaterThan(3);
  });
});
