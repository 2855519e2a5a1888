"""Keys and their text forms (docs/protocol.md §2.1)."""

import base64
import hashlib
import hmac
import re

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


class Malformed(Exception):
    """A text or message that is none of the protocol's."""


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def hmac_sha256(key: bytes, data: bytes) -> bytes:
    return hmac.new(key, data, hashlib.sha256).digest()


def to_base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b'=').decode()


def from_base64url(text: str) -> bytes:
    """Accepts only the one encoding that `to_base64url` makes."""
    if not re.fullmatch(r'[A-Za-z0-9_-]*', text) or len(text) % 4 == 1:
        raise Malformed('alphabet or length')
    data = base64.urlsafe_b64decode(text + '=' * (-len(text) % 4))
    if to_base64url(data) != text:
        raise Malformed('unused bits')
    return data


def hkdf(secret: bytes, label: bytes) -> bytes:
    """One block of HKDF-SHA256. RFC 5869 §2.2: an empty salt is a salt of 32 zeros."""
    pseudorandom_key = hmac_sha256(bytes(32), secret)
    return hmac_sha256(pseudorandom_key, label + b'\x01')


def public_key(private: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def x25519(private: bytes, public: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(public))


def is_public_key(key: bytes) -> bool:
    """Whether it is the one spelling of a point that is not of small order. Those give zero with every private key."""
    if len(key) != 32 or int.from_bytes(key, 'little') >= 2**255 - 19:
        return False
    try:
        x25519(bytes([8]) * 32, key)
    except ValueError:
        return False
    return True


class Identity:
    """The two key pairs that follow from one 32-byte secret."""

    def __init__(self, secret: bytes):
        self.secret = secret
        self.gate_private = hkdf(secret, b'wstun gate x25519 v1')
        self.gate_public = public_key(self.gate_private)
        self.session_private = hkdf(secret, b'wstun session x25519 v1')
        self.session_public = public_key(self.session_private)

    def public_text(self) -> str:
        return checked_text('wstunpk1_', self.gate_public + self.session_public, 5)

    def secret_text(self) -> str:
        return checked_text('wstunsk1_', self.secret, 4)


def checked_text(prefix: str, body: bytes, checksum_bytes: int) -> str:
    return prefix + to_base64url(body + sha256(prefix.encode() + body)[:checksum_bytes])


def read_checked_text(prefix: str, text: str, checksum_bytes: int) -> bytes:
    if not text.startswith(prefix):
        raise Malformed('prefix')
    body = from_base64url(text[len(prefix):])[:-checksum_bytes]
    if checked_text(prefix, body, checksum_bytes) != text:
        raise Malformed('checksum')
    return body
