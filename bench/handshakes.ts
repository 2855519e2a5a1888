/** The handshake alone, as an exit pays for it: the responder's calls are timed, the initiator's are not. */
import type { CipherSuite } from '../src/crypto/aead.ts';
import { HandshakeState } from '../src/crypto/noise.ts';
import { x25519 } from '../src/crypto/x25519.ts';

/** Aimed at on one core. */
export const HANDSHAKES_AIM = 2_000;

const EMPTY = new Uint8Array(0);
const prologue = Buffer.from('wstun/1\0');
const [client, exit] = [x25519.generateKeyPair(), x25519.generateKeyPair()];

/** A second, on the thread that runs JavaScript. */
export function measureHandshakes(suite: CipherSuite, count: number): number {
  let spent = 0;
  const timed = <T>(work: () => T): T => {
    const began = performance.now();
    const result = work();
    spent += performance.now() - began;
    return result;
  };
  for (let i = 0; i < count; i++) {
    const initiator = new HandshakeState({ role: 'initiator', suite, prologue, s: client, rs: exit.publicKey });
    const first = initiator.writeMessage(EMPTY);
    const responder = timed(() => new HandshakeState({ role: 'responder', suite, prologue, s: exit }));
    const second = timed(() => {
      responder.readMessage(first);
      return responder.writeMessage(EMPTY);
    });
    initiator.readMessage(second);
    const third = initiator.writeMessage(EMPTY);
    timed(() => {
      responder.readMessage(third);
      return responder.finish();
    });
  }
  return (count * 1000) / spent;
}
