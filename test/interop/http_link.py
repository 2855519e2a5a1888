"""HTTP links (docs/protocol.md §1.4): the key, the segments of requests, the blocks of streams."""

import struct

from nacl.bindings import crypto_secretbox

from keys import hmac_sha256, to_base64url
from tickets import nonce_of

FEATURE_HTTP = 0x0400
UP, DOWN, POLL, CLOSE = 1, 2, 3, 4
ALL_ONES = 2**64 - 1
PADDING_BLOCK, MESSAGE_BLOCK, CLOSE_BLOCK = 0, 1, 2


def link_key(key: bytes, ticket: str) -> bytes:
    return hmac_sha256(key, b'wstun http link v1' + nonce_of(ticket))


def link_id(link: bytes) -> bytes:
    return hmac_sha256(link, b'wstun http link id v1')[:8]


def request_payload(kind: int, sequence: int, offset: int, received: int, wait_ms: int = 0) -> bytes:
    return struct.pack('>BQQQI', kind, sequence, offset, received, wait_ms) + bytes(49)


def segment(link: bytes, payload: bytes, nonce: bytes) -> str:
    return to_base64url(link_id(link) + nonce + crypto_secretbox(payload, nonce, link))


def block(kind: int, content: bytes) -> bytes:
    return bytes([kind]) + len(content).to_bytes(3, 'big') + content
