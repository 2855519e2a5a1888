import { describe, expect, it } from 'vitest';
import { OtherRelays } from '../../../src/tunnel/session/other-relays.ts';

const HOUR_MS = 3_600_000;
const INVITED = ['ws://10.0.0.1:8080', 'wss://a.example/path'];

describe('relays to which an exit may be called', () => {
  it('an exit may be called to the URLs of its invite, in whatever form they are written', () => {
    const others = new OtherRelays(INVITED);
    expect(others.permit('ws://10.0.0.1:8080/', 0)).toBe('ws://10.0.0.1:8080');
    expect(others.permit('https://A.example/path/', 0)).toBe('wss://a.example/path');
  });

  it('an exit is not called to a URL without TLS that is not in its invite, nor to what is no URL of a relay', () => {
    const others = new OtherRelays(INVITED);
    const bad = ['ws://10.0.0.1:8081', 'http://169.254.169.254', 'ws://a.example/path', 'file:///etc', 'x', ''];
    for (const url of [...bad, 'wss://u:p@b.example', 'wss://b.example?x=1', 'wss://b.example:0'])
      expect(others.permit(url, 0), url).toBeUndefined();
  });

  it('an exit is called to 8 URLs in an hour that are not in its invite, each as often as it is needed', () => {
    const others = new OtherRelays(INVITED);
    const url = (at: number) => `wss://b${at}.example`;
    for (let at = 0; at < 8; at++) expect(others.permit(url(at), at)).toBe(url(at));
    expect(others.permit(url(8), 10)).toBeUndefined();
    expect(others.permit(url(0), 10)).toBe(url(0));
    expect(others.permit(INVITED[0] ?? '', 10)).toBe(INVITED[0]);
    expect(others.permit(url(8), HOUR_MS)).toBe(url(8));
    expect(others.permit(url(9), HOUR_MS)).toBeUndefined();
    expect(others.permit(url(9), HOUR_MS + 1)).toBe(url(9));
  });
});
