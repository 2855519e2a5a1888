import { expect, it } from 'vitest';
import { guessedAddressText } from '../../src/cli/guessed-address.ts';

it('a relay whose guessed address is private says that its invite is of no use elsewhere, and what to do', () => {
  for (const [url, example] of [
    ['wss://10.0.0.5', 'wss://ADDRESS,'],
    ['ws://192.168.7.2:8080', 'ws://ADDRESS:8080,'],
    ['wss://[fd00::1]:8443', 'wss://ADDRESS:8443,'],
    ['wss://100.64.0.9', 'wss://ADDRESS,'],
  ] as const) {
    const text = guessedAddressText(url);
    expect(text).toMatch(/is not a public address.*wstun access renew default$/);
    expect(text).toContain(`--url ${example}`);
  }
});

it('a relay with a public address, a name, or only loopback says how to give another one', () => {
  for (const url of ['wss://51.0.0.10', 'wss://[2a01::1]', 'ws://127.0.0.1:8080', 'wss://relay.example.org'])
    expect(guessedAddressText(url)).toBe(
      'If clients reach this relay at another address, start it once with: --url URL.',
    );
});
