"""Frames, codes, record headers, and the request and answer of a session (docs/protocol.md §3 to §5, §10)."""

import socket
import struct
from dataclasses import dataclass

HELLO, OPEN, OPENED, OPEN_FAILED, DATA, CREDIT, FINISH, RESET, PING, PONG, GO_AWAY = range(11)
LINKS, DATAGRAM, RELAYS = 0x81, 0x82, 0x83
FIRST_IGNORABLE = 0x80
HEADER_BYTES = 8
MAX_DATA_BYTES, MAX_DATAGRAM_BYTES = 65511, 65500
MAY_WAIT, SEVERAL_LINKS, DATAGRAMS, SERVICES, OTHER_RELAYS = 0x0001, 0x0002, 0x0004, 0x0008, 0x0010

IPV4, NAME, IPV6 = 1, 3, 4
TCP, UDP, RESOLVER, TCP_LISTENER, UDP_LISTENER, ACCEPTED = range(1, 7)
LISTENERS = (TCP_LISTENER, UDP_LISTENER)
NOWHERE = ('0.0.0.0', 0)

ACKNOWLEDGES, UNNUMBERED, ACKNOWLEDGEMENT_MAY_WAIT = 0x01, 0x02, 0x04
PLACED, LEAVING, PIECE = 0x08, 0x10, 0x20
BEGIN, RESUME, JOIN = 0, 1, 2

CODES = {
    1: 'bad-frame', 2: 'bad-version', 3: 'bad-stream-id', 4: 'window-exceeded', 5: 'credit-overflow', 6: 'peer-flood',
    7: 'peer-silent', 8: 'out-of-ids', 9: 'wrong-state', 10: 'shutting-down', 11: 'access-removed', 12: 'link-lost',
    13: 'not-connected', 14: 'exit-absent', 15: 'internal', 16: 'too-many-sessions', 17: 'keys-rotated',
    18: 'overloaded', 19: 'too-many-links', 20: 'bad-record', 21: 'session-unknown', 22: 'session-expired',
    23: 'session-gap', 24: 'session-closed', 32: 'dial-refused', 33: 'dial-host-unreachable',
    34: 'dial-network-unreachable', 35: 'dial-not-allowed', 36: 'dial-timed-out', 37: 'dial-name-unknown',
    38: 'dial-name-failed', 39: 'dial-bad-target', 40: 'dial-busy', 41: 'dial-failed', 42: 'target-reset',
    43: 'dial-cancelled', 44: 'quota-used', 45: 'service-unknown', 46: 'listen-not-allowed', 47: 'listen-in-use',
    48: 'listen-failed',
}  # fmt: skip
NUMBERS = {name: number for number, name in CODES.items()}


def code_name(number: int) -> str:
    return CODES.get(number, f'code {number}')


def u16(value: int) -> bytes:
    return struct.pack('>H', value)


def u32(value: int) -> bytes:
    return struct.pack('>I', value)


def u48(value: int) -> bytes:
    return value.to_bytes(6, 'big')


def frame_header(kind: int, stream: int, length: int) -> bytes:
    return bytes([kind]) + length.to_bytes(3, 'big') + u32(stream)


def frame(kind: int, stream: int, payload: bytes = b'') -> bytes:
    return frame_header(kind, stream, len(payload)) + payload


def hello(version=1, features=0, max_streams=64, rest=b'') -> bytes:
    return frame(HELLO, 0, struct.pack('>HHI', version, features, max_streams) + rest)


def relays(urls: list[str], pins: list[bytes]) -> bytes:
    named = b''.join(u16(len(url)) + url.encode() for url in urls)
    return frame(RELAYS, 0, bytes([len(urls)]) + named + bytes([len(pins)]) + b''.join(pins))


def open_raw(stream: int, credit=1000, service=TCP, kind=IPV4, port=80, host=b'\x7f\0\0\1') -> bytes:
    return frame(OPEN, stream, struct.pack('>IBBH', credit, service, kind, port) + host)


def features_for(service: int) -> int:
    """What the client itself must have offered, because the exit sends it of its own accord."""
    if service in (UDP, UDP_LISTENER):
        return DATAGRAMS
    return SERVICES if service == TCP_LISTENER else 0


def encode_host(host: str) -> tuple[int, bytes]:
    for kind, family in ((IPV4, socket.AF_INET), (IPV6, socket.AF_INET6)):
        try:
            return kind, socket.inet_pton(family, host)
        except (OSError, ValueError):
            pass
    return NAME, host.encode()


def decode_host(kind: int, host: bytes) -> str:
    if kind == NAME:
        return host.decode()
    return socket.inet_ntop(socket.AF_INET if kind == IPV4 else socket.AF_INET6, host)


def open_frame(stream: int, host: str, port: int, credit: int, service=TCP) -> bytes:
    kind, encoded = encode_host(host)
    return open_raw(stream, credit, service, kind, port, encoded)


def accepted_frame(stream: int, listener: int, peer: tuple[str, int], credit: int) -> bytes:
    kind, encoded = encode_host(peer[0])
    return open_raw(stream, credit, ACCEPTED, kind, peer[1], u32(listener) + encoded)


@dataclass
class OpenRequest:
    credit: int
    service: int
    host: str
    port: int
    listener: int | None  # of an accepted connection


def read_open(payload: bytes) -> OpenRequest:
    credit, service, kind, port = struct.unpack('>IBBH', payload[:8])
    start = 12 if service == ACCEPTED else 8
    listener = int.from_bytes(payload[8:12], 'big') if service == ACCEPTED else None
    return OpenRequest(credit, service, decode_host(kind, payload[start:]), port, listener)


def opened(stream: int, credit: int, bound: tuple[str, int] | None = None) -> bytes:
    """`bound`: of a listener, where it listens."""
    if bound is None:
        return frame(OPENED, stream, u32(credit))
    kind, host = encode_host(bound[0])
    return frame(OPENED, stream, struct.pack('>IBH', credit, kind, bound[1]) + host)


def read_opened(payload: bytes) -> tuple[int, tuple[str, int] | None]:
    if len(payload) == 4:
        return int.from_bytes(payload, 'big'), None
    credit, kind, port = struct.unpack('>IBH', payload[:7])
    return credit, (decode_host(kind, payload[7:]), port)


def reset(stream: int, code: str) -> bytes:
    return frame(RESET, stream, u16(NUMBERS[code]))


def credit(stream: int, increment: int) -> bytes:
    return frame(CREDIT, stream, u32(increment))


def go_away(code: int, last_stream: int = 0) -> bytes:
    return frame(GO_AWAY, 0, u16(code) + u32(last_stream))


def datagram_address(host: str, port: int) -> bytes:
    kind, encoded = encode_host(host)
    length = bytes([len(encoded)]) if kind == NAME else b''
    return struct.pack('>BH', kind, port) + length + encoded


def read_datagram_address(payload: bytes) -> tuple[tuple[str, int], bytes]:
    """The address, and the content after it."""
    kind, port = struct.unpack('>BH', payload[:3])
    start = 4 if kind == NAME else 3
    end = start + (payload[3] if kind == NAME else {IPV4: 4, IPV6: 16}[kind])
    return (decode_host(kind, payload[start:end]), port), payload[end:]


def datagram(stream: int, content: bytes, address: tuple[str, int] | None = None) -> bytes:
    """`address`: unless the association is connected."""
    return frame(DATAGRAM, stream, (datagram_address(*address) if address else b'') + content)


def take_frames(buffer: bytearray):
    """Takes all whole frames off the buffer: type, stream, payload."""
    while len(buffer) >= HEADER_BYTES:
        end = HEADER_BYTES + int.from_bytes(buffer[1:4], 'big')
        if len(buffer) < end:
            return
        taken = (buffer[0], int.from_bytes(buffer[4:8], 'big'), bytes(buffer[8:end]))
        del buffer[:end]
        yield taken


def request(kind: int, session: bytes, received: int) -> bytes:
    return bytes([kind]) + session + u48(received)


def is_request(content: bytes) -> bool:
    return len(content) == 23 and (content[0] == RESUME or content[0] == BEGIN and content[17:] == bytes(6))


def read_request(content: bytes) -> tuple[int, bytes, int]:
    return content[0], content[1:17], int.from_bytes(content[17:23], 'big')


def answer(code: int, received: int = 0) -> bytes:
    return u16(code) + u48(received)


def read_answer(content: bytes) -> tuple[int, int]:
    assert len(content) == 8, f'an answer of {len(content)} bytes'
    return int.from_bytes(content[:2], 'big'), int.from_bytes(content[2:], 'big')


def placement(number: int, floor: int, *followed: int) -> bytes:
    """What follows the flags and the acknowledgement: floor and followed are numbers of records."""
    back = b''.join(u16(number - other) for other in followed)
    return u48(number) + u16(number - floor) + bytes([len(followed)]) + back


def acknowledgement(number: int, time: int) -> bytes:
    """What follows the flags."""
    return u48(number) + u32(time)
