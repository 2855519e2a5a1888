"""As much of a WebSocket (RFC 6455) as a link needs, blocking, and able to break the rules."""

import base64
import hashlib
import os
import select
import socket
import struct
import time
from collections import deque
from dataclasses import dataclass, field
from urllib.parse import urlsplit

ACCEPT_GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
CONNECT_SECONDS = 10


class Refused(Exception):
    """The answer to the upgrade was no 101."""

    def __init__(self, status: int, head: str, body: bytes):
        super().__init__(f'HTTP {status}')
        self.status, self.head, self.body = status, head, body


class LinkEnded(Exception):
    """Its text is how."""


@dataclass
class Upgrade:
    """Deviations from a right upgrade request."""

    path: str | None = None         # instead of the path of the URL, `/` and the ticket
    method: str = 'GET'
    version: str = 'HTTP/1.1'
    headers: dict = field(default_factory=dict)
    without: tuple = ()
    body: bytes = b''

    def encode(self, host: str, path: str, key: str) -> bytes:
        headers = {'Host': host, 'Upgrade': 'websocket', 'Connection': 'Upgrade', 'Sec-WebSocket-Version': '13'}
        headers |= {'Sec-WebSocket-Key': key} | self.headers
        lines = [f'{name}: {value}' for name, value in headers.items() if name not in self.without]
        start = f'{self.method} {path if self.path is None else self.path} {self.version}'
        return '\r\n'.join([start, *lines, '', '']).encode() + self.body


class WebSocket:
    """A connection that is open. `ended` says how it ended, once it has."""

    def __init__(self, sock: socket.socket, first_bytes: bytes):
        self.sock: socket.socket | None = sock
        self.messages: deque = deque()
        self.ended: str | None = None
        self._incoming, self._outgoing = bytearray(first_bytes), bytearray()
        self._fragments: tuple | None = None
        sock.setblocking(False)
        self._parse()

    @property
    def waiting_bytes(self) -> int:
        return len(self._outgoing)

    def send(self, payload: bytes, opcode=BINARY, final=True, reserved=0, masked=True):
        head = bytes([final << 7 | reserved << 4 | opcode]) + encoded_length(len(payload), masked)
        if masked:
            mask = os.urandom(4)
            head, payload = head + mask, apply_mask(payload, mask)
        self._outgoing += head + payload
        self.step(0)

    def receive(self, timeout: float = 5) -> bytes:
        """The next binary message."""
        end = time.monotonic() + timeout
        while not self.messages:
            if self.sock is None:
                raise LinkEnded(self.ended)
            if time.monotonic() > end:
                raise TimeoutError
            self.step(end - time.monotonic())
        opcode, payload = self.messages.popleft()
        if opcode != BINARY:
            raise LinkEnded('text message')
        return payload

    def step(self, timeout: float):
        """Reads and writes once what is possible."""
        if self.sock is None:
            return
        writers = [self.sock] if self._outgoing else []
        readable, writable, _ = select.select([self.sock], writers, [], max(0, timeout))
        try:
            if writable:
                del self._outgoing[:self.sock.send(self._outgoing[:1 << 20])]
            if readable:
                self._read()
        except BlockingIOError:
            pass
        except OSError as error:
            self._end(f'error: {error.strerror}')

    def _read(self):
        data = self.sock.recv(1 << 18)
        if not data:
            return self._end('end of file')
        self._incoming += data
        self._parse()

    def _parse(self):
        while (frame := take_frame(self._incoming)) is not None:
            self._take(*frame)

    def _take(self, opcode: int, final: bool, payload: bytes):
        if opcode == CLOSE:
            self.ended = f'closed with {struct.unpack(">H", payload[:2])[0] if payload else "no status"}'
            if self.sock:
                self.send(payload[:2], CLOSE)
        elif opcode == PING:
            self.send(payload, PONG)
        elif opcode != PONG:
            kind, before = self._fragments or (opcode, b'')
            self._fragments = None if final else (kind, before + payload)
            if final:
                self.messages.append((kind, before + payload))

    def _end(self, how: str):
        self.ended = self.ended or how
        if self.sock:
            self.sock.close()
            self.sock = None

    def wait_until_ended(self, timeout: float = 5) -> str | None:
        """How the connection ended; None if it has not."""
        end = time.monotonic() + timeout
        while self.sock is not None and time.monotonic() < end:
            self.step(end - time.monotonic())
        return self.ended if self.sock is None else None

    def flush(self, timeout: float = 10):
        end = time.monotonic() + timeout
        while self._outgoing and self.sock is not None and time.monotonic() < end:
            self.step(0.2)

    def close(self, status: int = 1000):
        self.send(struct.pack('>H', status), CLOSE)
        self.wait_until_ended(2)
        self._end('closed by this end')

    def abort(self):
        """Ends the TCP connection with RST."""
        if self.sock is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
            self._end('aborted by this end')


def connect(url: str, ticket: str, upgrade: Upgrade = Upgrade()) -> WebSocket:
    """Opens a link (§2.2). Raises Refused."""
    parts = urlsplit(url)
    assert parts.scheme == 'ws', 'this peer knows no TLS'
    sock = socket.create_connection((parts.hostname, parts.port or 80), CONNECT_SECONDS)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    key = base64.b64encode(os.urandom(16)).decode()
    sock.sendall(upgrade.encode(parts.netloc, f'{parts.path}/{ticket}', key))
    head, rest = read_head(sock)
    status = int(head.split()[1])
    if status != 101:
        raise Refused(status, head, read_body(sock, head, rest))
    accept = base64.b64encode(hashlib.sha1((key + ACCEPT_GUID).encode()).digest()).decode()
    assert f'\r\nsec-websocket-accept: {accept}\r\n'.lower() in head.lower(), 'Sec-WebSocket-Accept is wrong'
    return WebSocket(sock, rest)


def read_head(sock: socket.socket) -> tuple[str, bytes]:
    data = b''
    while b'\r\n\r\n' not in data:
        more = sock.recv(65536)
        if not more:
            raise LinkEnded('no answer to the upgrade')
        data += more
    head, rest = data.split(b'\r\n\r\n', 1)
    return head.decode('latin1') + '\r\n', rest


def read_body(sock: socket.socket, head: str, first: bytes) -> bytes:
    """As long as Content-Length says: a server may keep the connection."""
    lengths = [line.split(':')[1] for line in head.lower().split('\r\n') if line.startswith('content-length:')]
    body, length = first, int(lengths[0]) if lengths else 0
    while len(body) < length and (more := sock.recv(65536)):
        body += more
    sock.close()
    return body


def encoded_length(length: int, masked: bool) -> bytes:
    mask = 0x80 if masked else 0
    if length < 126:
        return bytes([mask | length])
    if length < 65536:
        return bytes([mask | 126]) + struct.pack('>H', length)
    return bytes([mask | 127]) + struct.pack('>Q', length)


def apply_mask(payload: bytes, mask: bytes) -> bytes:
    size = len(payload)
    repeated = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, 'big') ^ int.from_bytes(repeated, 'big')).to_bytes(size, 'big')


def take_frame(buffer: bytearray):
    """Takes a whole frame off the buffer: opcode, final, payload. None where it is not whole yet."""
    if len(buffer) < 2:
        return None
    assert not buffer[1] & 0x80 and not buffer[0] & 0x70, 'a frame of a server is masked, or has a reserved bit'
    length, start = buffer[1], 2
    if length > 125:
        start = 4 if length == 126 else 10
        if len(buffer) < start:
            return None
        length = int.from_bytes(buffer[2:start], 'big')
    if len(buffer) < start + length:
        return None
    frame = (buffer[0] & 15, bool(buffer[0] & 0x80), bytes(buffer[start:start + length]))
    del buffer[:start + length]
    return frame
