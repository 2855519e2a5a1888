"""Tickets, refusals with a proof, and the proof that keys were rotated (docs/protocol.md §2.2)."""

import hashlib
import os
import re
import struct
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from nacl.bindings import crypto_box_afternm, crypto_box_beforenm, crypto_box_open_afternm, crypto_secretbox_open
from nacl.exceptions import CryptoError

from keys import Identity, from_base64url, hmac_sha256, to_base64url

ROLE_CLIENT, ROLE_EXIT = 1, 2
FEATURE_PAGE = 0x8000
FEATURE_AUDIENCE = 0x0100
EPOCH_SECONDS = 120
PAYLOAD_BYTES = 78
REASONS = {1: 'upgrade-dropped', 2: 'wrong-path', 3: 'clock-off', 4: 'relay-full', 5: 'too-often'}


@dataclass
class Ticket:
    """What is sealed into a ticket. A test can make any of it wrong."""

    role: int = ROLE_CLIENT
    destination: bytes = b''
    features: int = 0
    version: int = 1
    protocol: int = 1
    time: float | None = None       # now
    epoch: int | None = None        # that of the time
    nonce: bytes | None = None      # random
    audience: bytes | None = None   # for every relay with the key
    tail: bytes = b''               # the last bytes of the padding
    payload: bytes | None = None    # all of it, instead of the fields above

    def encode(self, when: int) -> bytes:
        if self.payload is not None:
            return self.payload
        features = self.features | (FEATURE_AUDIENCE if self.audience else 0)
        head = struct.pack('>BBQHH', self.version, self.role, when, self.protocol, features)
        fields = head + bytes([len(self.destination)]) + self.destination
        return fields + bytes(PAYLOAD_BYTES - len(fields) - len(self.tail)) + self.tail


def shared_key(me: Identity, relay_gate_key: bytes) -> bytes:
    """K."""
    return crypto_box_beforenm(relay_gate_key, me.gate_private)


def hint_of(key: bytes, epoch: int) -> bytes:
    return hmac_sha256(key, b'wstun ticket hint v1' + struct.pack('>Q', epoch))[:8]


def audience_of(url: str) -> bytes:
    """Of a relay's URL as it is in an invite."""
    parts = urlsplit(url)
    host = f'[{parts.hostname}]' if ':' in parts.hostname else parts.hostname
    port = parts.port or {'wss': 443, 'ws': 80}[parts.scheme]
    return hashlib.sha256(f'wstun audience v1{host}:{port}{parts.path}'.encode()).digest()[:8]


def mask_audience(key: bytes, nonce: bytes, audience: bytes) -> bytes:
    """The same both ways."""
    mask = hmac_sha256(key, b'wstun ticket audience v1' + nonce[:16])
    return bytes(one ^ other for one, other in zip(audience, mask))


def seal_ticket(key: bytes, ticket: Ticket = Ticket()) -> str:
    when = int(time.time() if ticket.time is None else ticket.time)
    epoch = when // EPOCH_SECONDS if ticket.epoch is None else ticket.epoch
    nonce = ticket.nonce or os.urandom(24)
    if ticket.audience:
        nonce = nonce[:16] + mask_audience(key, nonce, ticket.audience)
    return to_base64url(hint_of(key, epoch) + nonce + crypto_box_afternm(ticket.encode(when), nonce, key))


def open_ticket(key: bytes, text: str) -> bytes:
    """The payload."""
    raw = from_base64url(text)
    return crypto_box_open_afternm(raw[32:], raw[8:32], key)


def audience_in(key: bytes, text: str) -> bytes | None:
    """For which relay a ticket is."""
    features, = struct.unpack_from('>H', open_ticket(key, text), 12)
    nonce = nonce_of(text)
    return mask_audience(key, nonce, nonce[16:]) if features & FEATURE_AUDIENCE else None


def nonce_of(text: str) -> bytes:
    return from_base64url(text)[8:32]


def rotation_proof(key: bytes, ticket: str) -> bytes:
    return hmac_sha256(key, b'wstun keys rotated v1' + nonce_of(ticket))


def refusal_key(key: bytes, ticket: str) -> bytes:
    return hmac_sha256(key, b'wstun refusal v1' + nonce_of(ticket))


def proven_reason(key: bytes, ticket: str, head: str) -> str | None:
    """The reason that the answer's ETag proves. None where it has none for this ticket."""
    found = re.search(r'^etag: *(?:W/)?"([A-Za-z0-9_-]+)', head, re.IGNORECASE | re.MULTILINE)
    if found is None:
        return None
    box = from_base64url(found[1])
    try:
        return REASONS.get(crypto_secretbox_open(box[24:], box[:24], refusal_key(key, ticket))[0])
    except CryptoError:
        return None
