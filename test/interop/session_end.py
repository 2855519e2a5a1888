"""What both ends of a session do with records (docs/protocol.md §3, §10).

They number, keep and retransmit their own, acknowledge the peer's, and join these to frames. Datagrams go in records
that are neither numbered nor kept, but have a position on their link.
"""

import time
from collections import Counter, deque

from frames import (
    ACKNOWLEDGEMENT_MAY_WAIT, ACKNOWLEDGES, DATAGRAM, DATAGRAMS, FIRST_IGNORABLE, MAX_DATAGRAM_BYTES, MAY_WAIT,
    UNNUMBERED, acknowledgement, take_frames,
)  # fmt: skip
from link import SecureLink

KNOWN_FLAGS = ACKNOWLEDGES | UNNUMBERED | ACKNOWLEDGEMENT_MAY_WAIT


class PeerBrokeRules(Exception):
    """The other end did what the document forbids."""


def microseconds() -> int:
    return time.monotonic_ns() // 1000 % 2**32


class SessionEnd:
    """Subclasses say by `handle_frame` and `handle_datagram` what the frames do."""

    def __init__(self):
        self.link: SecureLink | None = None
        self.sent = self.received = self.acknowledged = 0
        self.unacknowledged: deque[tuple[int, bytes]] = deque()
        self.features = 0  # that this end has offered
        self.peer_features: int | None = None
        self.position = 0  # of the newest record of the peer that has come on this link and has one
        self._in_flight: deque[int | None] = deque()  # what has a position on this link: a number, or datagrams
        self._first_in_flight = 1  # its position
        self.seen: Counter = Counter()
        self.duplicates = 0  # numbered records that this link brings and an older one had brought already
        self._partial_frame = bytearray()
        self._receipt_time: int | None = None  # of the newest record, while it is to be acknowledged

    def handle_frame(self, kind: int, stream: int, payload: bytes):
        raise NotImplementedError

    def handle_datagram(self, stream: int, payload: bytes):
        raise PeerBrokeRules('a datagram for an end that has none')

    def send(self, *frames: bytes):
        """One numbered record."""
        content = b''.join(frames)
        self.sent += 1
        self.unacknowledged.append((self.sent, content))
        self._write_numbered(self.sent, content)

    def count_by_hand(self):
        """The caller writes the next numbered record, which is not kept."""
        self.sent += 1
        self._in_flight.append(self.sent)

    def send_datagrams(self, *frames: bytes):
        """One record that is not kept."""
        assert (self.peer_features or 0) & DATAGRAMS, 'the peer has not offered datagrams'
        if self.link is not None:
            self._in_flight.append(None)
            self._write(UNNUMBERED, b''.join(frames))

    @property
    def datagrams_in_flight(self) -> int:
        return self._in_flight.count(None)

    def _write_numbered(self, number: int, content: bytes):
        if self.link is not None:
            self._in_flight.append(number)
            self._write(0, content)

    def acknowledge(self):
        if self._receipt_time is not None:
            self._write(UNNUMBERED, b'')

    def _write(self, flags: int, content: bytes):
        if self.link is None:
            return
        if self._receipt_time is not None:
            flags |= ACKNOWLEDGES
            content = acknowledgement(self.position, self._receipt_time) + content
            self._receipt_time = None
        self.link.send(bytes([flags]) + content)

    def move_to(self, link: SecureLink, peer_received: int, said_received: int | None = None):
        """Goes on on a new link: retransmits what the peer has not received, each record as it was."""
        said = self.received if said_received is None else said_received
        self.link, self._receipt_time = link, None
        self.position, self.duplicates = said, self.received - said
        self.confirm_number(peer_received)
        self._in_flight.clear()
        self._first_in_flight = peer_received + 1
        self.seen['retransmitted'] += len(self.unacknowledged)
        for number, content in self.unacknowledged:
            self._write_numbered(number, content)

    def confirm(self, position: int):
        """The peer has received all that has a position on this link, up to this one."""
        if position >= self._first_in_flight + len(self._in_flight):
            raise PeerBrokeRules(f'it acknowledges {position}, and the link has carried less')
        number = None
        while self._first_in_flight <= position:
            number = self._in_flight.popleft() or number
            self._first_in_flight += 1
        if number is not None:
            self.confirm_number(number)

    def confirm_number(self, number: int):
        """The peer has received all numbered records up to this one."""
        if not self.acknowledged <= number <= self.sent:
            raise PeerBrokeRules(f'it has received {number}; {self.sent} were sent, {self.acknowledged} acknowledged')
        self.acknowledged = number
        while self.unacknowledged and self.unacknowledged[0][0] <= number:
            self.unacknowledged.popleft()

    def receive(self, timeout: float = 5) -> bool:
        """Takes one record, and acknowledges it. False if none has come."""
        try:
            content = self.link.receive(timeout)
        except TimeoutError:
            return False
        self.take_record(content)
        self.acknowledge()
        return True

    def take_record(self, content: bytes):
        flags, start = self._check_flags(content), 1
        if flags & ACKNOWLEDGES:
            self.confirm(int.from_bytes(content[1:7], 'big'))
            start = 11
        if flags & UNNUMBERED:
            return self._take_unnumbered(content[start:])
        self._receipt_time = microseconds()
        self.position += 1
        if self.duplicates:
            self.duplicates -= 1
            return
        self.received += 1
        self._partial_frame += content[start:]
        for kind, stream, payload in take_frames(self._partial_frame):
            self.handle_frame(kind, stream, payload)

    def _take_unnumbered(self, frames: bytes):
        if not frames:
            return
        if not self.features & DATAGRAMS:
            raise PeerBrokeRules('datagrams, which this end has not offered')
        self._receipt_time = microseconds()
        self.position += 1
        rest = bytearray(frames)
        for kind, stream, payload in take_frames(rest):
            if kind < FIRST_IGNORABLE or kind == DATAGRAM and not (stream and len(payload) <= MAX_DATAGRAM_BYTES):
                raise PeerBrokeRules(f'frame of type {kind:#x} in a record without a number')
            if kind == DATAGRAM:
                self.seen['datagrams'] += 1
                self.handle_datagram(stream, payload)
        if rest:
            raise PeerBrokeRules('a datagram that is cut')

    def _check_flags(self, content: bytes) -> int:
        if not content or content[0] & ~KNOWN_FLAGS:
            raise PeerBrokeRules('a record without a known header')
        flags = content[0]
        self.seen['unnumbered' if flags & UNNUMBERED else 'numbered'] += 1
        if flags & ACKNOWLEDGEMENT_MAY_WAIT:
            self.seen['may wait'] += 1
            if not self.features & MAY_WAIT:
                raise PeerBrokeRules('flag 04, which this end has not offered')
        return flags
