"""What an exit serves beside TCP connections: associations, listeners and a resolver (docs/protocol.md §7.1)."""

import socket
import struct

import frames

MAX_BYTES = 65535
GRANT_BYTES = 1 << 16
# Of the only answer that the resolver here gives.
NAMED_ADDRESS, TTL_SECONDS = bytes([192, 0, 2, 53]), 60
POINTER_TO_QUESTION, TYPE_A, CLASS_IN = 0xC00C, 1, 1
RESPONSE = 0x8180


class Association:
    """UDP. One that is not connected takes datagrams only of hosts to which it has sent, unless it listens."""

    def __init__(self, session, stream_id: int, request: frames.OpenRequest):
        self.session, self.id = session, stream_id
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setblocking(False)
        self.listens = request.service == frames.UDP_LISTENER
        self.is_connected = request.service == frames.UDP and request.port != 0
        self.peers: set[str] = set()
        if self.listens:
            self.sock.bind((request.host, request.port))
        elif self.is_connected:
            self.sock.connect((request.host, request.port))

    @property
    def bound(self) -> tuple[str, int] | None:
        return self.sock.getsockname() if self.listens else None

    def take(self, payload: bytes):
        """A datagram of the client. It is dropped where it cannot go."""
        try:
            if self.is_connected:
                return self.sock.send(payload)
            (host, port), content = frames.read_datagram_address(payload)
            if not host.startswith('127.'):
                return
            self.peers.add(host)
            self.sock.sendto(content, (host, port))
        except OSError:
            pass

    def step(self):
        while True:
            try:
                content, peer = self.sock.recvfrom(MAX_BYTES)
            except BlockingIOError:
                return
            except OSError:
                continue
            if self.is_connected or self.listens or peer[0] in self.peers:
                self.session.send_datagrams(frames.datagram(self.id, content, None if self.is_connected else peer))

    def close(self):
        self.sock.close()


class Listener:
    def __init__(self, session, stream_id: int, request: frames.OpenRequest):
        self.session, self.id = session, stream_id
        self.sock = socket.create_server((request.host, request.port))
        self.sock.setblocking(False)
        self.bound = self.sock.getsockname()

    def step(self):
        try:
            while True:
                self.session.offer_accepted(self.id, *self.sock.accept())
        except BlockingIOError:
            pass

    def close(self):
        self.sock.close()


class Resolver:
    """Answers each query with one address, as if every name had it and nothing else."""

    sock = None

    def __init__(self, session, stream_id: int, send_credit: int):
        self.session, self.id, self.send_credit = session, stream_id, send_credit
        self._queries, self._owed = bytearray(), 0

    def take(self, data: bytes):
        self._queries += data
        self._owed += len(data)
        if self._owed >= GRANT_BYTES:
            self.session.send(frames.credit(self.id, self._owed))
            self._owed = 0
        while len(self._queries) >= 2 and len(self._queries) >= 2 + (size := int.from_bytes(self._queries[:2], 'big')):
            answer = self._answer(bytes(self._queries[2:2 + size]))
            del self._queries[:2 + size]
            self.session.send(frames.frame(frames.DATA, self.id, frames.u16(len(answer)) + answer))

    def _answer(self, query: bytes) -> bytes:
        end = query.index(0, 12) + 5
        question = query[12:end]
        has_address = question[-4:] == struct.pack('>HH', TYPE_A, CLASS_IN)
        head = query[:2] + struct.pack('>HHHHH', RESPONSE, 1, int(has_address), 0, 0)
        record = struct.pack('>HHHIH', POINTER_TO_QUESTION, TYPE_A, CLASS_IN, TTL_SECONDS, 4) + NAMED_ADDRESS
        return head + question + (record if has_address else b'')

    def step(self):
        pass

    def close(self):
        pass
