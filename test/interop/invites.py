"""Invites (docs/protocol.md §2.3)."""

import struct
from dataclasses import dataclass, field

from keys import Identity, Malformed, checked_text, is_public_key, read_checked_text

PREFIX = 'wstun1_'
CHECKSUM_BYTES = 4
URL, RELAY_GATE_KEY, EXIT_SESSION_KEY, EXIT_NAME, SECRET, ROLE, PIN = 1, 2, 3, 4, 5, 6, 7
CLIENT, EXIT = 1, 2


@dataclass
class Invite:
    url: str
    relay_gate_key: bytes
    exit_session_key: bytes
    me: Identity
    exit_name: str = ''
    role: int | None = None
    pins: list[bytes] = field(default_factory=list)


def encode_invite(invite: Invite) -> str:
    fields = [(URL, invite.url.encode()), (RELAY_GATE_KEY, invite.relay_gate_key)]
    fields.append((EXIT_SESSION_KEY, invite.exit_session_key))
    if invite.exit_name:
        fields.append((EXIT_NAME, invite.exit_name.encode()))
    fields.append((SECRET, invite.me.secret))
    if invite.role is not None:
        fields.append((ROLE, bytes([invite.role])))
    fields += [(PIN, pin) for pin in invite.pins]
    encoded = b''.join(struct.pack('>BH', kind, len(value)) + value for kind, value in fields)
    header = struct.pack('>BH', 1, 3 + len(encoded) + CHECKSUM_BYTES)
    return checked_text(PREFIX, header + encoded, CHECKSUM_BYTES)


def decode_invite(text: str) -> Invite:
    body = read_checked_text(PREFIX, text.strip(), CHECKSUM_BYTES)
    version, total = struct.unpack('>BH', body[:3])
    if version != 1 or total != len(body) + CHECKSUM_BYTES:
        raise Malformed('version or length')
    fields = dict(reversed(list(fields_of(body[3:]))))  # of several URLs the first, which is the best
    if not is_public_key(fields[RELAY_GATE_KEY]) or not is_public_key(fields[EXIT_SESSION_KEY]):
        raise Malformed('a key that is none')
    role = fields.get(ROLE)
    return Invite(
        url=fields[URL].decode(),
        relay_gate_key=fields[RELAY_GATE_KEY],
        exit_session_key=fields[EXIT_SESSION_KEY],
        me=Identity(fields[SECRET]),
        exit_name=fields.get(EXIT_NAME, b'').decode(),
        role=role[0] if role else None,
        pins=[value for kind, value in fields_of(body[3:]) if kind == PIN],
    )


def fields_of(data: bytes):
    at = 0
    while at < len(data):
        kind, length = struct.unpack_from('>BH', data, at)
        yield kind, data[at + 3:at + 3 + length]
        at += 3 + length
