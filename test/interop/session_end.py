"""What both ends of a session do with records (docs/protocol.md §3, §10).

They number, keep and retransmit their own, acknowledge the peer's, and join these to frames.
"""

import time
from collections import Counter, deque

from frames import ACKNOWLEDGEMENT_MAY_WAIT, ACKNOWLEDGES, UNNUMBERED, acknowledgement, take_frames
from link import SecureLink

KNOWN_FLAGS = ACKNOWLEDGES | UNNUMBERED | ACKNOWLEDGEMENT_MAY_WAIT


class PeerBrokeRules(Exception):
    """The other end did what the document forbids."""


def microseconds() -> int:
    return time.monotonic_ns() // 1000 % 2**32


class SessionEnd:
    """Subclasses say by `handle_frame` what the frames do."""

    def __init__(self):
        self.link: SecureLink | None = None
        self.sent = self.received = self.acknowledged = 0
        self.unacknowledged: deque[tuple[int, bytes]] = deque()
        self.features = 0  # that this end has offered
        self.seen: Counter = Counter()
        self.duplicates = 0  # numbered records that this link brings and an older one had brought already
        self._partial_frame = bytearray()
        self._receipt_time: int | None = None  # of the newest record, while it is to be acknowledged

    def handle_frame(self, kind: int, stream: int, payload: bytes):
        raise NotImplementedError

    def send(self, *frames: bytes):
        """One numbered record."""
        content = b''.join(frames)
        self.sent += 1
        self.unacknowledged.append((self.sent, content))
        self._write(0, content)

    def acknowledge(self):
        if self._receipt_time is not None:
            self._write(UNNUMBERED, b'')

    def _write(self, flags: int, content: bytes):
        if self.link is None:
            return
        if self._receipt_time is not None:
            flags |= ACKNOWLEDGES
            content = acknowledgement(self.received - self.duplicates, self._receipt_time) + content
            self._receipt_time = None
        self.link.send(bytes([flags]) + content)

    def move_to(self, link: SecureLink, peer_received: int):
        """Goes on on a new link: retransmits what the peer has not received, each record as it was."""
        self.link, self._receipt_time, self.duplicates = link, None, 0
        self.confirm(peer_received)
        self.seen['retransmitted'] += len(self.unacknowledged)
        for _, content in self.unacknowledged:
            self._write(0, content)

    def confirm(self, number: int):
        """The peer has received all records up to this one."""
        if not self.acknowledged <= number <= self.sent:
            raise PeerBrokeRules(f'it acknowledges {number}; {self.sent} were sent, {self.acknowledged} acknowledged')
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
            return
        self._receipt_time = microseconds()
        if self.duplicates:
            self.duplicates -= 1
            return
        self.received += 1
        self._partial_frame += content[start:]
        for kind, stream, payload in take_frames(self._partial_frame):
            self.handle_frame(kind, stream, payload)

    def _check_flags(self, content: bytes) -> int:
        if not content or content[0] & ~KNOWN_FLAGS:
            raise PeerBrokeRules('a record without a known header')
        flags = content[0]
        self.seen['unnumbered' if flags & UNNUMBERED else 'numbered'] += 1
        if flags & ACKNOWLEDGEMENT_MAY_WAIT:
            self.seen['may wait'] += 1
            if not self.features:
                raise PeerBrokeRules('flag 04, which this end has not offered')
        return flags
