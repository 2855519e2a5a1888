"""An exit's end of a session: dials targets and carries their bytes (docs/protocol.md §4, §6 to §10).

What §7.1 has beside TCP is in exit_services.py.
"""

import errno
import socket
import struct

import frames
from exit_services import Association, Listener, Resolver
from frames import code_name, read_open
from link import SecureLink
from session_end import PeerBrokeRules, SessionEnd
from websocket import LinkEnded

WINDOW = 1 << 18
READ_BYTES = 32768
# With more than this on its way nothing is read from targets.
MAX_UNACKNOWLEDGED = 64


class ExitStream:
    def __init__(self, number: int, sock: socket.socket, send_credit: int):
        self.id, self.sock, self.send_credit = number, sock, send_credit
        self.to_target, self.owed = bytearray(), 0
        self.target_ended = self.peer_finished = False

    def close(self, with_reset=False):
        if with_reset:
            return reset_socket(self.sock)
        self.sock.close()


def reset_socket(sock: socket.socket):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    sock.close()


class ExitSession(SessionEnd):
    """`step` is called when one of `readers` or `writers` may be ready."""

    def __init__(self):
        super().__init__()
        self.features = frames.DATAGRAMS | frames.SERVICES
        self.streams: dict[int, ExitStream] = {}
        self.services: dict[int, Association | Listener | Resolver] = {}
        self.accepted: dict[int, socket.socket] = {}  # connections of listeners that the client has not answered
        self.next_id = 2
        self.over = False
        self.link_losses = 0

    def start(self, link: SecureLink):
        self.link = link
        self.send(frames.hello(features=self.features, max_streams=100))

    def readers(self) -> list[socket.socket]:
        if self.link is None:
            return []
        sockets = [service.sock for service in self.services.values() if service.sock]
        return [self.link.ws.sock, *(stream.sock for stream in self._streams_to_read()), *sockets]

    def writers(self) -> list[socket.socket]:
        if self.link is None:
            return []
        waiting = [self.link.ws.sock] if self.link.ws.waiting_bytes else []
        return waiting + [stream.sock for stream in self.streams.values() if stream.to_target]

    def _streams_to_read(self) -> list[ExitStream]:
        if len(self.unacknowledged) > MAX_UNACKNOWLEDGED:
            return []
        return [stream for stream in self.streams.values() if stream.send_credit > 0 and not stream.target_ended]

    def step(self):
        if self.link is None:
            return
        try:
            self._take_records()
            for stream in list(self.streams.values()):
                self._write_to_target(stream)
            for stream in self._streams_to_read():
                self._read_from_target(stream)
            for service in list(self.services.values()):
                service.step()
            if self.link and self.link.ws.sock is None:
                raise LinkEnded(self.link.ws.ended)
        except LinkEnded:
            self.lose_link()

    def lose_link(self):
        if self.link:
            self.link.ws.abort()
            self.link = None
            self.link_losses += 1

    def _take_records(self):
        link = self.link
        link.ws.step(0)
        while link is self.link and link.ws.messages:
            self.receive(0)

    def end(self):
        self.over = True
        for stream in self.streams.values():
            stream.close(with_reset=True)
        self.streams.clear()
        for ended in (*self.services.values(), *self.accepted.values()):
            ended.close()
        self.services.clear()
        self.accepted.clear()
        self.link.ws.flush()
        self.link.ws.close()
        self.link = None

    # Targets

    def _read_from_target(self, stream: ExitStream):
        try:
            data = stream.sock.recv(min(READ_BYTES, stream.send_credit))
        except BlockingIOError:
            return
        except OSError:
            return self._fail(stream)
        if data:
            stream.send_credit -= len(data)
            self.send(frames.frame(frames.DATA, stream.id, data))
        else:
            stream.target_ended = True
            self.send(frames.frame(frames.FINISH, stream.id))
            self._close_if_done(stream)

    def _write_to_target(self, stream: ExitStream):
        if not stream.to_target:
            return
        try:
            written = stream.sock.send(stream.to_target)
        except BlockingIOError:
            return
        except OSError:
            return self._fail(stream)
        del stream.to_target[:written]
        self._grant(stream, written)
        self._close_if_done(stream)

    def _grant(self, stream: ExitStream, written: int):
        stream.owed += written
        if stream.owed >= WINDOW // 4 and not stream.peer_finished:
            self.send(frames.credit(stream.id, stream.owed))
            stream.owed = 0

    def _fail(self, stream: ExitStream):
        self.send(frames.reset(stream.id, 'target-reset'))
        self.streams.pop(stream.id).close()

    def _close_if_done(self, stream: ExitStream):
        if stream.to_target or not stream.peer_finished:
            return
        if stream.target_ended:
            self.streams.pop(stream.id).close()
        else:
            stream.sock.shutdown(socket.SHUT_WR)

    # Frames of the client

    def handle_frame(self, kind: int, stream_id: int, payload: bytes):
        if (self.peer_features is not None) == (kind == frames.HELLO):
            raise PeerBrokeRules('its HELLO is not its first frame')
        if kind == frames.HELLO:
            self.peer_features = int.from_bytes(payload[2:4], 'big')
        elif kind == frames.PING:
            self.send(frames.frame(frames.PONG, 0, payload))
        elif kind == frames.GO_AWAY:
            self.handle_go_away(code_name(struct.unpack('>HI', payload)[0]))
        elif kind == frames.OPEN:
            self.handle_open(stream_id, payload)
        elif stream_id in self.services:
            self._take_service_frame(kind, stream_id, payload)
        elif stream_id in self.accepted:
            self._take_answer(kind, stream_id, payload)
        elif stream_id in self.streams:
            self._take_stream_frame(kind, self.streams[stream_id], payload)

    def handle_go_away(self, code: str):
        if code != 'shutting-down':
            self.end()

    def handle_open(self, stream_id: int, payload: bytes):
        request = read_open(payload)
        needed = frames.features_for(request.service)
        if self.peer_features & needed != needed:
            return self.refuse(stream_id, 'dial-bad-target')
        if request.service == frames.RESOLVER:
            self.services[stream_id] = Resolver(self, stream_id, request.credit)
            return self.send(frames.opened(stream_id, WINDOW))
        is_open = request.service == frames.UDP and request.port == 0
        if not (is_open or request.host.startswith('127.')):
            is_listener = request.service in frames.LISTENERS
            return self.refuse(stream_id, 'listen-not-allowed' if is_listener else 'dial-not-allowed')
        if request.service == frames.TCP:
            return self._dial(stream_id, request)
        self._serve(stream_id, request)

    def _dial(self, stream_id: int, request: frames.OpenRequest):
        try:
            sock = socket.create_connection((request.host, request.port), 5)
        except OSError:
            return self.refuse(stream_id, 'dial-refused')
        self._carry(stream_id, sock, request.credit)
        self.send(frames.opened(stream_id, WINDOW))

    def _carry(self, stream_id: int, sock: socket.socket, send_credit: int):
        sock.setblocking(False)
        self.streams[stream_id] = ExitStream(stream_id, sock, send_credit)

    # Services

    def _serve(self, stream_id: int, request: frames.OpenRequest):
        """An association or a listener."""
        try:
            kind = Listener if request.service == frames.TCP_LISTENER else Association
            service = self.services[stream_id] = kind(self, stream_id, request)
        except OSError as fault:
            return self.refuse(stream_id, 'listen-in-use' if fault.errno == errno.EADDRINUSE else 'listen-failed')
        self.send(frames.opened(stream_id, 0, service.bound))

    def offer_accepted(self, listener: int, sock: socket.socket, peer: tuple[str, int]):
        self.accepted[self.next_id] = sock
        self.send(frames.accepted_frame(self.next_id, listener, peer, WINDOW))
        self.next_id += 2

    def _take_answer(self, kind: int, stream_id: int, payload: bytes):
        sock = self.accepted.pop(stream_id)
        if kind == frames.OPENED:
            return self._carry(stream_id, sock, frames.read_opened(payload)[0])
        if kind != frames.OPEN_FAILED:
            raise PeerBrokeRules(f'frame of type {kind:#x} for a connection that is offered')
        reset_socket(sock)

    def _take_service_frame(self, kind: int, stream_id: int, payload: bytes):
        service = self.services[stream_id]
        if kind == frames.DATA and isinstance(service, Resolver):
            service.take(payload)
        elif kind == frames.FINISH:
            self.send(frames.frame(frames.FINISH, stream_id))
        elif kind != frames.RESET and not isinstance(service, Resolver):
            raise PeerBrokeRules(f'frame of type {kind:#x} for an association or a listener')
        if kind in (frames.FINISH, frames.RESET):
            self.services.pop(stream_id).close()

    def handle_datagram(self, stream_id: int, payload: bytes):
        association = self.services.get(stream_id)
        if isinstance(association, Association):
            association.take(payload)

    def refuse(self, stream_id: int, code: str):
        self.send(frames.frame(frames.OPEN_FAILED, stream_id, frames.u16(frames.NUMBERS[code])))

    def _take_stream_frame(self, kind: int, stream: ExitStream, payload: bytes):
        if kind == frames.DATA:
            stream.to_target += payload
            self._write_to_target(stream)
        elif kind == frames.CREDIT:
            stream.send_credit += struct.unpack('>I', payload)[0]
        elif kind == frames.FINISH:
            stream.peer_finished = True
            self._close_if_done(stream)
        elif kind == frames.RESET:
            self.streams.pop(stream.id).close(with_reset=True)
