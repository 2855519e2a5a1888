/**
 * rweather/noise-c, a reference implementation in C with primitives of its own, compiled to WebAssembly: what the Noise
 * code is tested against. It has no types and, made for browsers, leaves handlers behind in the process: both mended
 * here.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

export interface NoiseCCipher {
  EncryptWithAd(ad: Uint8Array, plaintext: Uint8Array): Uint8Array;
  /** @throws where the ciphertext is not authentic */
  DecryptWithAd(ad: Uint8Array, ciphertext: Uint8Array): Uint8Array;
  free(): void;
}

export interface NoiseCHandshake {
  Initialize(prologue: Uint8Array, s: Uint8Array, rs: Uint8Array | null): void;
  WriteMessage(payload: Uint8Array): Uint8Array;
  ReadMessage(message: Uint8Array, payloadNeeded: true): Uint8Array;
  GetHandshakeHash(): Uint8Array;
  GetRemotePublicKey(): Uint8Array | null;
  /** Frees the handshake. The first cipher is for sending, the second for receiving. */
  Split(): [NoiseCCipher, NoiseCCipher];
}

export interface NoiseC {
  readonly constants: { readonly NOISE_ROLE_INITIATOR: number; readonly NOISE_ROLE_RESPONDER: number };
  HandshakeState(protocolName: string, role: number): NoiseCHandshake;
}

type CreateNoiseC = (options: object, callback: (noise: NoiseC) => void) => void;

const EVENTS = ['uncaughtException', 'unhandledRejection'];

export async function loadNoiseC(): Promise<NoiseC> {
  const require = createRequire(import.meta.url);
  const create = require('noise-c.wasm') as CreateNoiseC;
  const wasmBinary = readFileSync(require.resolve('noise-c.wasm/src/noise-c.wasm'));
  const emitter: NodeJS.EventEmitter = process;
  const before = EVENTS.map((event) => new Set(emitter.listeners(event)));
  // Not resolved with the library itself: it has a `then` of Emscripten's.
  const { noise } = await new Promise<{ noise: NoiseC }>((resolve) => {
    create({ wasmBinary }, (loaded) => resolve({ noise: loaded }));
  });
  for (const [index, event] of EVENTS.entries()) {
    for (const listener of emitter.listeners(event)) {
      if (before[index]?.has(listener) === false) emitter.removeListener(event, listener as () => void);
    }
  }
  return noise;
}
