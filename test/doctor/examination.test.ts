/** What is examined after what, what is concluded of it, and that it ends in time: in virtual time. */
import { describe, expect, it } from 'vitest';
import type { Probes } from '../../src/doctor/probes.ts';
import { type FaultName, WstunError } from '../../src/errors.ts';
import { DialError, type Obstacle } from '../../src/transport/dial-obstacle.ts';
import { examineFake, fakeProxy, goodProbes, goodSession, hangs, RELAY } from '../support/doctor/fake-probes.ts';

const fails =
  (fault: FaultName, detail = '', obstacle?: Obstacle) =>
  async (): Promise<never> => {
    throw obstacle === undefined ? new WstunError(fault, detail) : new DialError(fault, detail, obstacle);
  };

/** By one carrier; the other one works. */
const failsBy =
  (carrier: 'websocket' | 'http', error: WstunError): Probes['open'] =>
  async (...all) => {
    if (all[1].carrier === carrier) throw error;
    return await goodProbes.open(...all);
  };

describe('an examination', () => {
  it('all checks work, in order, where nothing is wrong', async () => {
    const { said, fault, remark, isDetour } = await examineFake();
    const before = ['environment', 'listen', 'names', 'tcp', 'tls', 'websocket', 'clock', 'ticket', 'handshake'];
    const after = ['exit', 'round-trip', 'policy', 'resolver', 'target', 'throughput'];
    expect(said).toEqual([...before, ...after].map((name) => `ok ${name}`));
    expect({ fault, remark, isDetour }).toEqual({ fault: undefined, remark: undefined, isDetour: false });
  });

  it('skips what depends on a check that failed, and nothing else', async () => {
    const { said, fault } = await examineFake({ connect: fails('relay-unreachable', 'x: connection refused') });
    expect(said.filter((line) => line.startsWith('failed'))).toEqual(['failed tcp']);
    expect(said).toEqual(expect.arrayContaining(['ok listen', 'skipped ticket', 'skipped exit', 'skipped target']));
    expect(said.some((line) => /websocket|http/.test(line))).toBe(false);
    expect(fault?.fix).toMatch(/nothing listens at that port/);
  });

  it('tries HTTP requests where a WebSocket fails, and says that a client gets through by them', async () => {
    const dropped = new DialError('upgrade-dropped', '', 'upgrade-dropped');
    const { said, fault, remark, through, isDetour } = await examineFake({ open: failsBy('websocket', dropped) });
    expect(said).toEqual(expect.arrayContaining(['failed websocket', 'ok http', 'ok target']));
    expect(fault).toBeUndefined();
    expect(remark?.fault).toBe('upgrade-dropped');
    expect([through?.route.carrier, isDetour]).toEqual(['http', true]);
  });

  it('tries no HTTP requests where the relay itself has said no', async () => {
    const { said, fault } = await examineFake({ open: fails('exit-absent') });
    expect(said.filter((line) => line.startsWith('failed'))).toEqual(['failed exit']);
    expect(said.some((line) => line.endsWith('http'))).toBe(false);
    expect(fault?.fault).toBe('exit-absent');
  });

  it('goes on to the direct way where the proxy fails, and to the next relay where one is down', async () => {
    const proxy = fakeProxy('http://proxy:3128');
    const byProxy = await examineFake({
      paths: async () => [proxy, undefined],
      connect: async (...all) => (all[1] === proxy ? await fails('proxy-unreachable')() : goodProbes.connect(...all)),
    });
    expect(byProxy.said).toEqual(expect.arrayContaining(['failed proxy', 'ok tcp', 'ok exit']));
    expect([byProxy.remark?.fault, byProxy.isDetour]).toEqual(['proxy-unreachable', true]);
    const other = 'wss://other.example.org';
    const twoRelays = await examineFake({
      relays: [RELAY, other],
      connect: async (...all) =>
        all[0] === RELAY ? await fails('relay-unreachable')() : await goodProbes.connect(...all),
    });
    expect(twoRelays.through?.relay).toBe(other);
  });

  it('does not take the same answer by two carriers for a matter of the network', async () => {
    const refused = await examineFake({ open: fails('relay-refused', '', 'answer') });
    expect(refused.said).toContain('failed ticket');
    expect(refused.fault?.fix).toMatch(/most likely the invite was revoked/);
    const keys = await examineFake({ open: fails('handshake-failed', '', 'handshake') });
    expect(keys.said).toContain('failed handshake');
    expect(keys.fault?.fix).toMatch(/does not have the key/);
  });

  it('a clock that is off is told, and what works with it goes on', async () => {
    const { said, fault, remark } = await examineFake({ clockCorrectionMs: -86_400_000 });
    expect(said).toEqual(expect.arrayContaining(['failed clock', 'ok ticket', 'ok exit']));
    expect(fault).toBeUndefined();
    expect(remark?.what).toMatch(/86400 s ahead of the relay's/);
  });

  it('the port of the proxy decides whether a client runs, and nothing else', async () => {
    const { said, fault } = await examineFake({ listen: fails('cannot-listen') });
    expect(said).toEqual(expect.arrayContaining(['failed listen', 'ok exit']));
    expect(fault?.fault).toBe('cannot-listen');
  });

  it('names the page to which a network leads, and not the certificate that it shows', async () => {
    const { fault } = await examineFake({
      connect: fails('relay-other-name', '', 'untrusted'),
      loginPage: async () => new DialError('login-required', 'http://login.hotel.example/', 'answer'),
    });
    expect(fault?.fault).toBe('login-required');
  });

  it('names a proxy that would help, and the port that a firewall lets through', async () => {
    const dropped = { relays: [`${RELAY}:8443`], connect: fails('relay-unreachable', 'x:8443: no answer') };
    const proxied = await examineFake({ ...dropped, unusedProxy: async () => '"$HTTP_PROXY"' });
    expect(proxied.fault?.fix).toContain('--proxy "$HTTP_PROXY"');
    const firewalled = await examineFake({ ...dropped, answersAt443: async () => true });
    expect(firewalled.fault?.fix).toMatch(/drops port 8443, and lets port 443/);
  });

  it('a name that leads to a private address is suspected only where something else answers there', async () => {
    const names: Probes['names'] = async () => ({
      ...{ host: 'relay.example.org', addresses: ['10.1.1.1'], lastGood: undefined },
      servers: [{ server: '10.0.0.53', addresses: ['10.1.1.1'] }],
    });
    expect((await examineFake({ names })).remark).toBeUndefined();
    const elsewhere = await examineFake({ names, connect: fails('relay-other-name', '', 'untrusted') });
    expect(elsewhere.fault?.fault).toBe('resolver-lies');
    const expired = await examineFake({ names, connect: fails('relay-out-of-date', '', 'untrusted') });
    expect(expired.fault?.fault).toBe('relay-out-of-date');
  });
});

describe('the checks of streams', () => {
  const session = (open: (typeof goodSession)['open'], more = {}) => ({
    open: (async (...all) => ({ ...(await goodProbes.open(...all)), open, ...more })) as Probes['open'],
  });
  const usual = { target: { host: 'example.com', port: 443, isUsual: true } };

  it('a target that the exit does not allow is a fault only if the user has chosen it', async () => {
    const refuses = session(fails('dial-not-allowed'));
    const chosen = await examineFake(refuses);
    expect([chosen.fault?.fault, chosen.said.at(-4)]).toEqual(['dial-not-allowed', 'failed policy']);
    const notChosen = await examineFake(refuses, usual);
    expect(notChosen.fault).toBeUndefined();
    expect(notChosen.said).toContain('skipped policy');
  });

  it('a resolver that fails is told apart from a name that does not exist', async () => {
    const failed = await examineFake(session(fails('dial-name-failed')));
    expect(failed.said).toEqual(expect.arrayContaining(['failed resolver', 'skipped target']));
    const unknown = await examineFake(session(fails('dial-name-unknown')));
    expect(unknown.said).toEqual(expect.arrayContaining(['ok resolver', 'failed target']));
    const usualOne = await examineFake(session(fails('dial-name-unknown')), usual);
    expect(usualOne.said).toContain('failed resolver');
  });

  it('says that it cannot tell the throughput from a few bytes, or from a target that serves nothing', async () => {
    const few = await examineFake(session(goodSession.open, { download: async () => ({ bytes: 900, ms: 1 }) }));
    expect(few.checks.at(-1)).toMatchObject({ state: 'skipped', detail: expect.stringMatching(/only 900 bytes/) });
    const nothing = await examineFake({}, { target: { host: 'git.example', port: 22, isUsual: false } });
    expect(nothing.checks.at(-1)).toMatchObject({ name: 'throughput', state: 'skipped' });
  });

  it('holds a link idle for as long as it was told to, and says when it was lost', async () => {
    const lasted = await examineFake({}, { idleMs: 60_000 });
    expect(lasted.said.at(-1)).toBe('ok idle');
    const lost = await examineFake(session(goodSession.open, { idle: async () => ({ lostAfterMs: 31_000 }) }), {
      idleMs: 60_000,
    });
    expect(lost.fault?.what).toMatch(/after 31\.0 s/);
  });
});

describe('the time of an examination', () => {
  const PROBES = ['environment', 'listen', 'names', 'paths', 'connect', 'open'] as const;

  it.each(PROBES)('it ends within 15 s, with a word each 3 s, where nothing answers to "%s"', async (name) => {
    const relays = Array.from({ length: 8 }, (_, at) => `wss://relay${at}.example.org`);
    const { tookMs, longestSilenceMs } = await examineFake({ relays, [name]: hangs, loginPage: hangs });
    expect(tookMs).toBeLessThanOrEqual(14_000);
    expect(longestSilenceMs).toBeLessThanOrEqual(3_000);
  });

  it('it ends within 15 s where a stream, a download or a search hangs', async () => {
    const hanging = { ...goodSession, open: hangs, download: hangs };
    const streams = await examineFake({ open: async () => hanging });
    expect(streams.tookMs).toBeLessThanOrEqual(14_000);
    const hints = await examineFake({
      ...{ connect: fails('relay-unreachable'), loginPage: hangs, unusedProxy: hangs, answersAt443: hangs },
    });
    expect(hints.tookMs).toBeLessThanOrEqual(14_000);
    expect(hints.fault?.fault).toBe('relay-unreachable');
  });

  it('a relay for which no time is left is not blamed', async () => {
    const relays = Array.from({ length: 8 }, (_, at) => `wss://relay${at}.example.org`);
    const { checks } = await examineFake({ relays, connect: hangs });
    expect(checks.filter(({ name, state }) => name === 'tcp' && state === 'failed').length).toBeLessThanOrEqual(3);
    expect(checks.some(({ detail }) => detail === 'no time was left for it')).toBe(true);
  });
});
