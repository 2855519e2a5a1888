import { describe, expect, it } from 'vitest';
import { chooseClient, localAddress, type RunningClient } from '../../src/cli/running-client.ts';

const at = (port: number, profile?: string): RunningClient => ({ address: { host: '127.0.0.1', port }, profile });
const NOTHING = { profile: undefined, preferred: { profile: undefined, address: undefined } };
const [home, work, plain] = [at(1080, 'home'), at(1081, 'work'), at(1082)];

describe('which running client a program uses', () => {
  it('the only one, and none where none runs', () => {
    expect(chooseClient([], NOTHING)).toBeUndefined();
    expect(chooseClient([work], NOTHING)).toBe(work);
    expect(chooseClient([work], { ...NOTHING, preferred: { profile: 'home', address: home.address } })).toBe(work);
  });

  it('only one with the invite that was named, whose name is compared without case', () => {
    expect(chooseClient([home, work, plain], { ...NOTHING, profile: 'WORK' })).toBe(work);
    expect(chooseClient([home, plain], { ...NOTHING, profile: 'work' })).toBeUndefined();
  });

  it('of several, the one that the configuration names, and no other', () => {
    const preferred = { profile: 'work', address: undefined };
    expect(chooseClient([home, work], { ...NOTHING, preferred })).toBe(work);
    expect(chooseClient([home, plain], { ...NOTHING, preferred: { ...preferred, address: plain.address } })).toBe(
      plain,
    );
    expect(() => chooseClient([home, work, at(1083, 'work')], { ...NOTHING, preferred })).toThrow(
      'several clients run',
    );
  });

  it('several without a choice are listed, with what tells them apart', () => {
    expect(() => chooseClient([home, plain], NOTHING)).toThrow(
      /several clients run: 127\.0\.0\.1:1080 \(home\), 127\.0\.0\.1:1082\. Choose one: --as NAME or --listen HOST:PORT\./,
    );
    expect(() => chooseClient([at(1, 'a'), at(2, 'A')], { ...NOTHING, profile: 'a' })).toThrow(
      'Choose one: --listen HOST:PORT.',
    );
  });

  it('a proxy that listens on all addresses is reached by loopback', () => {
    expect(localAddress({ host: '0.0.0.0', port: 1 })).toEqual({ host: '127.0.0.1', port: 1 });
    expect(localAddress({ host: '::', port: 1 })).toEqual({ host: '::1', port: 1 });
    expect(localAddress({ host: '192.0.2.1', port: 1 })).toEqual({ host: '192.0.2.1', port: 1 });
  });
});
