/**
 * What a hostile or an odd PAC script can do to the process that asks it.
 * @module-tag waits
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../../../src/clock.ts';
import { isInNet, shExpMatch } from '../../../src/transport/proxy/pac-functions.ts';
import { type PacLookup, PacSandbox } from '../../../src/transport/proxy/pac-sandbox.ts';
import { VirtualClock } from '../../support/time/virtual-clock.ts';

const asked: string[] = [];
const lookup: PacLookup = async (host) => {
  asked.push(host);
  if (host.endsWith('.unknown')) throw new Error('ENOTFOUND');
  return '10.1.2.3';
};

async function resultOf(body: string, find: PacLookup = lookup): Promise<string> {
  const sandbox = await PacSandbox.load(`function FindProxyForURL(url, host) { ${body} }`, systemClock, find);
  return await sandbox.resultFor('https://relay.test/', 'relay.test');
}

describe('the sandbox of PAC scripts', () => {
  it.each([
    ['an endless loop after a look-up', 'dnsResolve(host); for (;;) {}'],
    ['all memory after a look-up', 'dnsResolve(host); var a = "x"; for (;;) a += a;'],
    ['a regular expression that takes for ever', 'return /(a+)+$/.test(new Array(60).join("a") + "!");'],
    ['names without an end', 'for (var i = 0; ; i++) if (dnsResolve("n" + i) === "x") return "DIRECT";'],
    ['more names in each run', 'var n = 0; while (isResolvable("n" + n)) n++; return "DIRECT";'],
    ['a result of a megabyte', 'var a = "PROXY a:1;"; while (a.length < 1e6) a += a; return a;'],
    ['an error', 'dnsResolve(host); throw new Error("x");'],
  ])('ends a script with %s by an error alone', async (_name, body) => {
    const faults: unknown[] = [];
    const note = (fault: unknown): void => void faults.push(fault);
    process.on('unhandledRejection', note);
    await expect(resultOf(body)).rejects.toThrow(Error);
    await new Promise((resolve) => setImmediate(resolve));
    process.off('unhandledRejection', note);
    expect(faults).toEqual([]);
  });

  it.each([
    ['an object with an endless getter', 'return { get a() { for (;;) {} } };', 'null'],
    ['a promise', 'return Promise.resolve("DIRECT");', 'null'],
    ['an endless toString', 'return dnsResolve({ toString: function () { for (;;) {} } }) + "";', '10.1.2.3'],
    ['nothing', '', 'null'],
  ])('reads no object of a script: %s', async (_name, body, result) => {
    expect(await resultOf(body)).toBe(result);
  });

  it('does not count the time of look-ups as time of the script', async () => {
    let now = 0;
    const clock = { ...systemClock, now: () => now };
    const slow: PacLookup = async () => {
      now += 4_000;
      return '10.0.0.1';
    };
    const script =
      'function FindProxyForURL(u, h) { var a = dnsResolve(h); for (var i = 0; i < 1e5; i++) {} return a; }';
    const sandbox = await PacSandbox.load(script, clock, slow);
    expect(await sandbox.resultFor('https://relay.test/', 'relay.test')).toBe('10.0.0.1');
    expect(await sandbox.resultFor('https://relay.test/', 'relay.test')).toBe('10.0.0.1');
  });

  it('counts the time of all runs for one result together', async () => {
    let now = 0;
    const clock = { ...systemClock, now: () => (now += 100) };
    const body = 'for (var n = 0; isResolvable("n" + n); n++) for (var i = 0; i < 2e4; i++) {} return "DIRECT";';
    const sandbox = await PacSandbox.load(`function FindProxyForURL(url, host) { ${body} }`, clock, lookup);
    await expect(sandbox.resultFor('https://relay.test/', 'relay.test')).rejects.toThrow('interrupted');
  });

  it('takes a name that is not found in time for unknown', async () => {
    const never: PacLookup = () => new Promise(() => {});
    const clock = new VirtualClock();
    const script = 'function FindProxyForURL(u, h) { return dnsResolve(h) === null ? "PROXY a:1" : "DIRECT"; }';
    const sandbox = await PacSandbox.load(script, clock, never);
    const result = sandbox.resultFor('https://relay.test/', 'relay.test');
    await clock.advance(5_000);
    expect(await result).toBe('PROXY a:1');
  });

  it('asks for each name once', async () => {
    asked.length = 0;
    const body = `return [isInNet(host, '10.1.0.0', '255.255.0.0'), dnsResolve(host), isResolvable(host),
      dnsResolve('a.unknown'), isResolvable('a.unknown')].join();`;
    expect(await resultOf(body)).toBe('true,10.1.2.3,true,,false');
    expect(new Set(asked)).toEqual(new Set(['a.unknown', 'relay.test']));
    expect(asked).toHaveLength(2);
  });

  it('knows the functions of dates, and an address of this machine', async () => {
    expect(
      await resultOf('return weekdayRange("SUN", "SAT") + " " + timeRange(0, 0, 0, 23, 59, 59) + " " + alert("x");'),
    ).toBe('true true undefined');
    expect(await resultOf('return myIpAddress();')).toMatch(/^\d+\.\d+\.\d+\.\d+$/);
  });
});

describe('functions of PAC', () => {
  it.each([
    ['relay.test', '*.test', true],
    ['relay.test', 'relay.????', true],
    ['relay.test', 'relay.?', false],
    ['relayXtest', 'relay.test', false],
    ['a+(b', 'a+(*', true],
    ['', '*', true],
    ['', '?', false],
    ['abcabd', '*ab?', true],
  ])('shExpMatch of %j and %j is %j', (text, pattern, matches) => {
    expect(shExpMatch(text, pattern)).toBe(matches);
  });

  it('shExpMatch takes what a regular expression takes', () => {
    const letters = fc.string({ unit: fc.constantFrom('a', 'b'), maxLength: 12 });
    const patterns = fc.string({ unit: fc.constantFrom('a', 'b', '*', '?'), maxLength: 6 });
    fc.assert(
      fc.property(letters, patterns, (text, pattern) => {
        const form = pattern.replaceAll('?', '.').replaceAll('*', '.*');
        expect(shExpMatch(text, pattern)).toBe(new RegExp(`^${form}$`).test(text));
      }),
    );
  });

  it('shExpMatch has a limit for patterns with many asterisks', () => {
    expect(shExpMatch('a'.repeat(4000), `${'*a'.repeat(1000)}b`)).toBe(false);
  });

  it.each([
    ['10.1.2.3', '10.0.0.0', '255.0.0.0', true],
    ['11.1.2.3', '10.0.0.0', '255.0.0.0', false],
    ['10.1.2.3', '10.9.2.9', '255.0.255.0', true],
    ['', '10.0.0.0', '255.0.0.0', false],
    ['10.1.2.3', 'x', '0.0.0.0', false],
  ])('isInNet of %j, %j and %j is %j', (address, pattern, mask, is) => {
    expect(isInNet(address, pattern, mask)).toBe(is);
  });
});
