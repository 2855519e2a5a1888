"""Noise XK, revision 34, with both cipher functions, and the records that follow it (docs/protocol.md §2.4).

Methods bear the names of the Noise specification.
"""

import os

from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from keys import hmac_sha256, public_key, sha256, x25519

CHACHAPOLY, AES_GCM = 1, 2
NAMES = {CHACHAPOLY: b'Noise_XK_25519_ChaChaPoly_SHA256', AES_GCM: b'Noise_XK_25519_AESGCM_SHA256'}
REKEY_RECORDS = 65536


class CipherState:
    def __init__(self, suite: int, key: bytes):
        self.suite, self.n, self.rekeys = suite, 0, 0
        self._use(key)

    def _use(self, key: bytes):
        self.key = key
        self._aead = (ChaCha20Poly1305 if self.suite == CHACHAPOLY else AESGCM)(key)

    def _nonce(self, n: int) -> bytes:
        return bytes(4) + n.to_bytes(8, 'little' if self.suite == CHACHAPOLY else 'big')

    def encrypt_with_ad(self, ad: bytes, plaintext: bytes) -> bytes:
        ciphertext = self._aead.encrypt(self._nonce(self.n), plaintext, ad)
        self.n += 1
        return ciphertext

    def decrypt_with_ad(self, ad: bytes, ciphertext: bytes) -> bytes:
        plaintext = self._aead.decrypt(self._nonce(self.n), ciphertext, ad)
        self.n += 1
        return plaintext

    def seal(self, content: bytes) -> bytes:
        record = self.encrypt_with_ad(b'', content)
        self._rekey_if_due()
        return record

    def open(self, record: bytes) -> bytes:
        content = self.decrypt_with_ad(b'', record)
        self._rekey_if_due()
        return content

    def _rekey_if_due(self):
        if self.n % REKEY_RECORDS == 0:
            self._use(self._aead.encrypt(self._nonce(2**64 - 1), bytes(32), b'')[:32])
            self.rekeys += 1


class HandshakeState:
    """`ephemeral` is a private key, for vectors only."""

    def __init__(self, suite: int, prologue: bytes, static: bytes, exit_key: bytes | None = None, ephemeral=None):
        name = NAMES[suite]
        self.suite, self.is_initiator = suite, exit_key is not None
        self.h = name.ljust(32, b'\0') if len(name) <= 32 else sha256(name)
        self.ck, self.cipher = self.h, None
        self.s, self.e, self.rs, self.re = static, ephemeral or os.urandom(32), exit_key, None
        self.mix_hash(prologue)
        self.mix_hash(exit_key if self.is_initiator else public_key(static))

    def mix_hash(self, data: bytes):
        self.h = sha256(self.h + data)

    def mix_key(self, input_key_material: bytes):
        self.ck, key = hkdf2(self.ck, input_key_material)
        self.cipher = CipherState(self.suite, key)

    def encrypt_and_hash(self, plaintext: bytes) -> bytes:
        ciphertext = self.cipher.encrypt_with_ad(self.h, plaintext)
        self.mix_hash(ciphertext)
        return ciphertext

    def decrypt_and_hash(self, ciphertext: bytes) -> bytes:
        plaintext = self.cipher.decrypt_with_ad(self.h, ciphertext)
        self.mix_hash(ciphertext)
        return plaintext

    def _write_e(self) -> bytes:
        self.mix_hash(public_key(self.e))
        return public_key(self.e)

    def _read_e(self, message: bytes):
        self.re = message[:32]
        self.mix_hash(self.re)

    def write_message_1(self, payload: bytes = b'') -> bytes:
        e = self._write_e()
        self.mix_key(x25519(self.e, self.rs))
        return e + self.encrypt_and_hash(payload)

    def read_message_1(self, message: bytes) -> bytes:
        self._read_e(message)
        self.mix_key(x25519(self.s, self.re))
        return self.decrypt_and_hash(message[32:])

    def write_message_2(self, payload: bytes = b'') -> bytes:
        e = self._write_e()
        self.mix_key(x25519(self.e, self.re))
        return e + self.encrypt_and_hash(payload)

    def read_message_2(self, message: bytes) -> bytes:
        self._read_e(message)
        self.mix_key(x25519(self.e, self.re))
        return self.decrypt_and_hash(message[32:])

    def write_message_3(self, payload: bytes = b'') -> bytes:
        s = self.encrypt_and_hash(public_key(self.s))
        self.mix_key(x25519(self.s, self.re))
        return s + self.encrypt_and_hash(payload)

    def read_message_3(self, message: bytes) -> bytes:
        self.rs = self.decrypt_and_hash(message[:48])
        self.mix_key(x25519(self.e, self.rs))
        return self.decrypt_and_hash(message[48:])

    def split(self) -> tuple[CipherState, CipherState]:
        """What this end seals with, and what it opens with."""
        first, second = (CipherState(self.suite, key) for key in hkdf2(self.ck, b''))
        return (first, second) if self.is_initiator else (second, first)


def hkdf2(chaining_key: bytes, input_key_material: bytes) -> tuple[bytes, bytes]:
    temp_key = hmac_sha256(chaining_key, input_key_material)
    output1 = hmac_sha256(temp_key, b'\x01')
    return output1, hmac_sha256(temp_key, output1 + b'\x02')
