import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { WstunError } from '../../src/errors.ts';
import { checkTarget } from '../../src/exit/policy.ts';
import { PublicAddresses } from '../../src/exit/public-addresses.ts';
import { parseRule } from '../../src/exit/rules.ts';
import { formatIp, parseIp } from '../../src/net/ip.ts';
import { silentLogger } from '../../src/observability/logger.ts';

const RELAY = 'wss://relay.example';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** Name servers whose answer a test may change: a list, a fault, or silence. */
function setUp(given?: string[]) {
  const dns = { answer: ['93.184.216.34'] as string[] | 'fault' | 'silence', asked: 0 };
  const resolve = ([name = '']: readonly string[]) => {
    dns.asked++;
    if (dns.answer === 'silence') return new Promise<never>(() => {});
    if (dns.answer === 'fault') return Promise.reject(new WstunError('dial-name-failed'));
    return Promise.resolve({ name, addresses: dns.answer.map((text) => parseIp(text)!) });
  };
  const found = new PublicAddresses({
    given: given?.map((text) => parseIp(text)!),
    resolvers: [{ resolve }],
    logger: silentLogger,
  });
  return { dns, found, all: () => found.all.map(formatIp) };
}

describe('the public addresses of this machine', () => {
  it.each([
    ['93.184.216.34', ['93.184.216.34']],
    ['[2606:2800::1]', ['2606:2800::1']],
    ['[::ffff:93.184.216.34]', ['93.184.216.34']],
  ])('the public address is the literal of the URL: %s', async (host, addresses) => {
    const { found, all, dns } = setUp();
    await found.followHost(host);
    expect(all()).toEqual(addresses);
    expect(dns.asked).toBe(0);
  });

  it('the public addresses are those of the URL’s name, looked up again every minute', async () => {
    const { found, all, dns } = setUp();
    await found.followHost('relay.example');
    expect(all()).toEqual(['93.184.216.34']);
    dns.answer = ['93.184.216.35', '2606:2800::1'];
    await vi.advanceTimersByTimeAsync(59_000);
    expect(all()).toEqual(['93.184.216.34']);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(all()).toEqual(['93.184.216.35', '2606:2800::1']);
    dns.answer = 'fault';
    await vi.advanceTimersByTimeAsync(60_000);
    expect(all()).toEqual(['93.184.216.35', '2606:2800::1']);
    found.stop();
    expect(vi.getTimerCount()).toBe(0);
  });

  it('a start waits at most a second for the public addresses', async () => {
    const { found, dns } = setUp();
    dns.answer = 'silence';
    let done = false;
    void found.followHost('relay.example').then(() => {
      done = true;
    });
    await vi.advanceTimersByTimeAsync(1_000);
    expect(done).toBe(true);
    found.stop();
  });

  it('the public addresses include the last one of each family that a relay saw, if it is public', () => {
    const { found, all } = setUp();
    for (const seen of ['127.0.0.1', '10.0.0.1', '::1', 'fd00::1', '100.64.0.1', 'junk', '::ffff:10.0.0.1']) {
      found.noteSeen(seen, RELAY);
    }
    expect(all()).toEqual([]);
    found.noteSeen('::ffff:93.184.216.34', RELAY);
    found.noteSeen('2606:2800::1', RELAY);
    found.noteSeen('93.184.216.40', RELAY);
    expect(all()).toEqual(['93.184.216.40', '2606:2800::1']);
  });

  it('the public addresses include what each of several relays saw', () => {
    const { found, all } = setUp();
    found.noteSeen('93.184.216.34', RELAY);
    found.noteSeen('93.184.216.40', 'wss://another.example');
    expect(all()).toEqual(['93.184.216.34', '93.184.216.40']);
    found.noteSeen('93.184.216.35', RELAY);
    expect(all()).toEqual(['93.184.216.35', '93.184.216.40']);
  });

  it('the public addresses are the configured ones, if any, and then none are learnt', async () => {
    for (const given of [['93.184.216.1', '2606:2800::9'], []]) {
      const { found, all, dns } = setUp(given);
      await found.followHost('relay.example');
      found.noteSeen('93.184.216.40', RELAY);
      expect(all()).toEqual(given);
      expect(dns.asked).toBe(0);
    }
  });
});

it('the policy refuses a public address of this machine in each of its forms, unless a rule opens it', () => {
  const { found } = setUp();
  found.noteSeen('93.184.216.34', RELAY);
  const verdict = (host: string, port: number, rules: string[] = []) => {
    const own = { addresses: found.all, ports: [8080] };
    const target = { kind: 'name' as const, name: host, port };
    const judged = checkTarget(target, { rules: rules.map(parseRule), own, fullNamesOf: (name) => [name] });
    return judged.kind === 'refuse' ? judged.reason : judged.kind;
  };
  for (const host of ['93.184.216.34', '::ffff:93.184.216.34', '::ffff:5db8:d822', '64:ff9b::93.184.216.34']) {
    expect(verdict(host, 22)).toBe('address of this exit');
    expect(verdict(host, 8080)).toBe('port of this exit');
    expect(verdict(host, 8080, ['*'])).toBe('port of this exit');
  }
  expect(verdict('93.184.216.34', 22, ['93.184.216.34:22'])).toBe('dial');
  expect(verdict('93.184.216.34', 80, ['93.184.216.34:22'])).toBe('address of this exit');
  expect(verdict('93.184.216.33', 22)).toBe('dial');
});
