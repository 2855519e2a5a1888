"""A client's end of a session, its streams, and their credit (docs/protocol.md §6 to §10)."""

import os
import struct
import time

import frames
from frames import BEGIN, RESUME, code_name
from link import Connector
from session_end import PeerBrokeRules, SessionEnd
from websocket import LinkEnded

WINDOW = 1 << 18


class SessionOver(Exception):
    """Its text is the name of the code."""


class StreamReset(Exception):
    pass


class Stream:
    def __init__(self, number: int, window: int):
        self.id, self.window = number, window
        self.send_credit, self.granted, self.owed = 0, window, 0
        self.state = 'opening'
        self.fault: str | None = None  # of OPEN_FAILED or RESET
        self.received, self.is_finished, self.sent_finish = bytearray(), False, False
        self.bound: tuple[str, int] | None = None  # where a listener listens
        self.is_connected = False  # of an association: its datagrams have no address
        self.datagrams: list[tuple[tuple[str, int] | None, bytes]] = []  # that came: from where, and what
        self.accepted: list[AcceptedStream] = []  # of a listener


class AcceptedStream(Stream):
    """A connection that a listener of this client has accepted."""

    def __init__(self, number: int, window: int, peer: tuple[str, int], send_credit: int):
        super().__init__(number, window)
        self.peer, self.send_credit, self.state = peer, send_credit, 'open'


class ClientSession(SessionEnd):
    def __init__(self, connect: Connector, session_id: bytes | None = None):
        super().__init__()
        self.connect, self.id = connect, session_id or os.urandom(16)
        self.streams: dict[int, Stream] = {}
        self.next_id = 1
        self.peer_max_streams = 0
        self.pongs: list[bytes] = []
        self.go_away: str | None = None
        self.over = False

    # Links

    def begin(self, features=0):
        """Begins the session, and says HELLO."""
        self.join(BEGIN, 0)
        self.features = features
        self.send(frames.hello(features=features))
        return self

    def resume(self):
        self.join(RESUME, self.received)

    def join(self, kind: int, received: int):
        link = self.connect()
        link.send(frames.request(kind, self.id, received))
        code, peer_received = frames.read_answer(link.receive(10))
        if code != 0:
            link.ws.wait_until_ended(2)
            raise SessionOver(code_name(code))
        if self.link:
            self.link.ws.abort()
        self.move_to(link, peer_received, received)

    def resume_while_reading(self):
        """Resumes, and reads the old link until the answer has come, as §10 allows."""
        old, claim, self.link = self.link, self.received, None
        link = self.connect()
        link.send(frames.request(RESUME, self.id, claim))
        self.take_record(old.receive())
        while not link.ws.messages:
            link.ws.step(0.001)
            try:
                self.take_record(old.receive(0))
            except (TimeoutError, LinkEnded):
                pass
        code, peer_received = frames.read_answer(link.receive())
        assert code == 0, code_name(code)
        self.move_to(link, peer_received, claim)
        return self.duplicates

    def close(self):
        self.send(frames.go_away(frames.NUMBERS['session-closed']))
        self.link.ws.flush()
        self.link.ws.close()

    # Frames of the exit

    def handle_frame(self, kind: int, stream_id: int, payload: bytes):
        if self.peer_features is None:
            return self._take_hello(kind, payload)
        if kind == frames.OPEN:
            return self._take_accepted(stream_id, frames.read_open(payload))
        if stream_id:
            return self._take_stream_frame(kind, self.streams[stream_id], payload)
        if kind == frames.PING:
            self.send(frames.frame(frames.PONG, 0, payload))
        elif kind == frames.PONG:
            self.pongs.append(payload)
        elif kind == frames.GO_AWAY:
            self.go_away = code_name(struct.unpack('>HI', payload)[0])
            self.over = self.go_away != 'shutting-down'
        else:
            raise PeerBrokeRules(f'frame of type {kind:#x}')

    def _take_hello(self, kind: int, payload: bytes):
        if kind != frames.HELLO:
            raise PeerBrokeRules('its first frame is no HELLO')
        _version, self.peer_features, self.peer_max_streams = struct.unpack('>HHI', payload[:8])

    def _take_stream_frame(self, kind: int, stream: Stream, payload: bytes):
        if kind == frames.DATA:
            self._take_data(stream, payload)
        elif kind == frames.OPENED:
            stream.state = 'open'
            stream.send_credit, stream.bound = frames.read_opened(payload)
        elif kind == frames.CREDIT:
            stream.send_credit += struct.unpack('>I', payload)[0]
        elif kind == frames.FINISH:
            stream.is_finished = True
        elif kind in (frames.OPEN_FAILED, frames.RESET):
            stream.state = 'failed' if kind == frames.OPEN_FAILED else 'reset'
            stream.fault = code_name(struct.unpack('>H', payload)[0])
        else:
            raise PeerBrokeRules(f'frame of type {kind:#x} on a stream')

    def _take_accepted(self, stream_id: int, request: frames.OpenRequest):
        """Accepts it at once; an OPEN of another kind, or for no listener of this client, is refused as §7 says."""
        listener = self.streams.get(request.listener)
        if request.service != frames.ACCEPTED or listener is None or listener.is_finished or listener.sent_finish:
            code = 'dial-cancelled' if request.service == frames.ACCEPTED else 'dial-not-allowed'
            return self.send(frames.frame(frames.OPEN_FAILED, stream_id, frames.u16(frames.NUMBERS[code])))
        peer = (request.host, request.port)
        stream = self.streams[stream_id] = AcceptedStream(stream_id, WINDOW, peer, request.credit)
        listener.accepted.append(stream)
        self.send(frames.opened(stream_id, WINDOW))

    def handle_datagram(self, stream_id: int, payload: bytes):
        stream = self.streams.get(stream_id)
        if stream is None or stream.is_finished:
            return
        address, content = (None, payload) if stream.is_connected else frames.read_datagram_address(payload)
        stream.datagrams.append((address, content))

    def _take_data(self, stream: Stream, payload: bytes):
        if len(payload) > stream.granted:
            raise PeerBrokeRules('it sent more than it was granted')
        stream.received += payload
        stream.granted -= len(payload)
        stream.owed += len(payload)
        if stream.owed >= stream.window // 4 and stream.state == 'open':
            self.send(frames.credit(stream.id, stream.owed))
            stream.granted += stream.owed
            stream.owed = 0

    # Streams

    def expect_stream(self, stream_id: int, window: int = WINDOW) -> Stream:
        """Room for the answers to an OPEN that the caller sends."""
        stream = self.streams[stream_id] = Stream(stream_id, window)
        self.next_id = max(self.next_id, stream_id + 2)
        return stream

    def open(self, port: int, host: str = '127.0.0.1', window: int = WINDOW) -> Stream:
        stream = self.expect_stream(self.next_id, window)
        self.send(frames.open_frame(stream.id, host, port, window))
        self.until(lambda: stream.state != 'opening')
        return stream

    def open_service(self, service: int, host='0.0.0.0', port=0, wait=True) -> Stream:
        """A service of §7.1. Its HELLO must have come, since only that offers them."""
        self.until(lambda: self.peer_features is not None)
        window = WINDOW if service == frames.RESOLVER else 0
        stream = self.expect_stream(self.next_id, window)
        stream.is_connected = service == frames.UDP and port != 0
        self.send(frames.open_frame(stream.id, host, port, window, service))
        if wait:
            self.until(lambda: stream.state != 'opening')
        return stream

    def send_datagram(self, stream: Stream, content: bytes, to: tuple[str, int] | None = None):
        self.send_datagrams(frames.datagram(stream.id, content, to))

    def until(self, condition, timeout: float = 20):
        """Takes records until the condition holds."""
        end = time.monotonic() + timeout
        while not condition():
            if self.over:
                raise SessionOver(self.go_away)
            if time.monotonic() > end:
                raise TimeoutError
            self.receive(end - time.monotonic())

    def take_what_has_come(self):
        self.link.ws.step(0)
        while self.link.ws.messages:
            self.receive(0)

    def write(self, stream: Stream, data: bytes, portion: int = 32768):
        rest = memoryview(data)
        while rest:
            self.until(lambda: stream.send_credit > 0 or stream.state != 'open')
            if stream.state != 'open':
                raise StreamReset(stream.fault)
            rest = rest[self.write_some(stream, rest[:portion]):]
            self.take_what_has_come()

    def write_some(self, stream: Stream, data) -> int:
        """Sends what the credit allows; how many bytes that were."""
        size = min(stream.send_credit, len(data))
        if size > 0:
            self.send(frames.frame(frames.DATA, stream.id, bytes(data[:size])))
            stream.send_credit -= size
        return size

    def finish(self, stream: Stream):
        stream.sent_finish = True
        self.send(frames.frame(frames.FINISH, stream.id))

    def ping(self, content: bytes):
        self.send(frames.frame(frames.PING, 0, content))
