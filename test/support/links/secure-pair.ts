/** Secure links over any two joined links, by a real handshake. */
import type { CipherSuite } from '../../../src/crypto/aead.ts';
import { x25519 } from '../../../src/crypto/x25519.ts';
import type { MessageLink } from '../../../src/transport/message-link.ts';
import { acceptSecureLink, type Encryption, initiateSecureLink } from '../../../src/tunnel/dial/handshake.ts';
import type { LinkPair } from './link-compliance.ts';

export const CLIENT_KEYS = x25519.generateKeyPair();
export const EXIT_KEYS = x25519.generateKeyPair();

interface SecureOptions {
  readonly suite?: CipherSuite;
  readonly encryption?: Encryption;
}

/** `near` becomes the client's end. Rejects as either end does. */
export async function securePair(
  under: LinkPair,
  { suite = 'ChaChaPoly', encryption = 'on' }: SecureOptions = {},
): Promise<LinkPair> {
  const accepted = new Promise<MessageLink>((resolve, reject) =>
    acceptSecureLink(
      under.far,
      { keys: EXIT_KEYS, peerOf: () => 'alice', allowUnsealed: encryption === 'off' },
      { onSecured: resolve, onFailed: reject },
    ),
  );
  const options = { keys: CLIENT_KEYS, exitKey: EXIT_KEYS.publicKey, suite, encryption };
  const initiated = initiateSecureLink(under.near, options, new AbortController().signal);
  const [near, far] = await Promise.all([initiated, accepted]);
  return { ...under, near, far };
}
