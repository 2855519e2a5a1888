"""An exit's end of a session: dials targets and carries their bytes (docs/protocol.md §4, §6 to §10)."""

import socket
import struct

import frames
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
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        self.sock.close()


class ExitSession(SessionEnd):
    """`step` is called when one of `readers` or `writers` may be ready."""

    def __init__(self):
        super().__init__()
        self.streams: dict[int, ExitStream] = {}
        self.peer_greeted = self.over = False
        self.link_losses = 0

    def start(self, link: SecureLink):
        self.link = link
        self.send(frames.hello(max_streams=100))

    def readers(self) -> list[socket.socket]:
        if self.link is None:
            return []
        return [self.link.ws.sock, *(stream.sock for stream in self._streams_to_read())]

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
        if self.peer_greeted == (kind == frames.HELLO):
            raise PeerBrokeRules('its HELLO is not its first frame')
        self.peer_greeted = True
        if kind == frames.PING:
            self.send(frames.frame(frames.PONG, 0, payload))
        elif kind == frames.GO_AWAY:
            self.handle_go_away(code_name(struct.unpack('>HI', payload)[0]))
        elif kind == frames.OPEN:
            self.handle_open(stream_id, payload)
        elif stream_id in self.streams:
            self._take_stream_frame(kind, self.streams[stream_id], payload)

    def handle_go_away(self, code: str):
        if code != 'shutting-down':
            self.end()

    def handle_open(self, stream_id: int, payload: bytes):
        send_credit, host, port = read_open(payload)
        if not host.startswith('127.'):
            return self.refuse(stream_id, 'dial-not-allowed')
        try:
            sock = socket.create_connection((host, port), 5)
        except OSError:
            return self.refuse(stream_id, 'dial-refused')
        sock.setblocking(False)
        self.streams[stream_id] = ExitStream(stream_id, sock, send_credit)
        self.send(frames.frame(frames.OPENED, stream_id, frames.u32(WINDOW)))

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
