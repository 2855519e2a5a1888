"""A named exit that breaks the rules, each towards a client of its own: sections 2.4 and 3 to 10 of docs/protocol.md.

Argument: none for violations in a session; `handshake` for those before one, where all are for one client.
"""

import os
import struct
import sys
import time
from dataclasses import dataclass

import frames
from exit_session import ExitSession
from frames import (
    ACKNOWLEDGES, CREDIT, DATA, DATAGRAM, FINISH, OPEN_FAILED, OPENED, PING, RESET, UNNUMBERED, acknowledgement, answer,
    code_name, frame, hello, open_raw, u16, u32,
)  # fmt: skip
from keys import Identity
from link import HANDSHAKE, HEADER_BYTES, NOTICE, PROLOGUE, SecureLink, secure_as_exit
from named_exit import NamedExit
from noise import HandshakeState
from report import invite_of_environment, say
from violation import Violation, end_of_link, full_name, tell
from websocket import TEXT, LinkEnded, Refused, WebSocket

TOKEN = b'are you?'


@dataclass
class OfExit(Violation):
    """`act` is given the session, and the id of the stream that the client opens."""

    when: str = 'opened'  # or `open`, instead of OPENED; `greeting`, instead of HELLO; `answer`, instead of it


def frames_for(make):
    return lambda session, stream: session.send(*make(stream))


def sends(*content: bytes):
    return lambda session, _: session.send(*content)


def says(content: bytes):
    return lambda session, _: session.link.send(content)


def message(payload: bytes, **options):
    return lambda session, _: session.link.ws.send(payload, **options)


def in_datagrams(make):
    """These frames in a record with flag 02."""
    return lambda session, stream: session.send_datagrams(*make(stream))


def opened_at(*content: int):
    """OPENED with this after its credit."""
    return frames_for(lambda n: [frame(OPENED, n, u32(1000) + bytes(content))])


TO_NOWHERE = frame(DATAGRAM, 999, b'x')
IN_SESSION = [
    OfExit('§7.1', 'OPEN of an exit for no listener', 'OPEN_FAILED dial-cancelled, goes on',
           sends(frames.accepted_frame(2, 1001, ('127.0.0.1', 80), 0))),
    OfExit('§7.1', 'OPEN of an exit for a TCP connection in the place of a listener', 'OPEN_FAILED dial-cancelled, goes on',
           frames_for(lambda n: [frames.accepted_frame(2, n, ('127.0.0.1', 80), 0)])),
    OfExit('§7.1', 'OPEN of an exit with service 6 and a cut address', 'OPEN_FAILED dial-not-allowed, goes on',
           sends(open_raw(2, service=frames.ACCEPTED))),
    OfExit('§7', 'OPEN of an exit with service 2', 'OPEN_FAILED dial-not-allowed, goes on',
           sends(open_raw(2, service=frames.UDP))),
    OfExit('§7.1', 'a cut DATAGRAM of an exit', 'GO_AWAY bad-record', in_datagrams(lambda n: [TO_NOWHERE[:8]])),
    OfExit('§7.1', 'DATA of an exit in a record with flag 02', 'GO_AWAY bad-record',
           in_datagrams(lambda n: [frame(DATA, n, b'x')])),
    OfExit('§7.1', 'datagrams of an exit for a TCP connection and for no stream', 'goes on',
           in_datagrams(lambda n: [TO_NOWHERE, frame(DATAGRAM, n, b'x')])),
    OfExit('§4', 'DATAGRAM of an exit in a numbered record', 'goes on', frames_for(lambda n: [frame(DATAGRAM, n, b'x')])),
    OfExit('§4', 'OPENED of 12 bytes', 'GO_AWAY bad-frame', opened_at(1, 0, 80, 127, 0, 0, 1, 0), 'open'),
    OfExit('§4', 'OPENED of a TCP connection with an address', 'goes on', opened_at(1, 0, 80, 127, 0, 0, 1), 'open'),
    OfExit('§7', 'OPEN of an exit with an even id', 'OPEN_FAILED dial-not-allowed, goes on', sends(open_raw(2))),
    OfExit('§7', 'OPEN of an exit with an odd id', 'GO_AWAY bad-stream-id', sends(open_raw(1001))),
    OfExit('§7', 'OPENED twice', 'GO_AWAY wrong-state', frames_for(lambda n: [frame(OPENED, n, u32(5))])),
    OfExit('§7', 'OPEN_FAILED after OPENED', 'GO_AWAY wrong-state',
           frames_for(lambda n: [frame(OPEN_FAILED, n, u16(32))])),
    OfExit('§8', 'CREDIT of 0 by an exit', 'GO_AWAY credit-overflow', frames_for(lambda n: [frame(CREDIT, n, u32(0))])),
    OfExit('§7', 'DATA of an exit after FINISH', 'GO_AWAY wrong-state',
           frames_for(lambda n: [frame(FINISH, n), frame(DATA, n, b'x')])),
    OfExit('§7', 'FINISH of an exit for an id above all', 'GO_AWAY bad-stream-id', sends(frame(FINISH, 999))),
    OfExit('§7', 'DATA before OPENED by an exit', 'GO_AWAY wrong-state',
           frames_for(lambda n: [frame(DATA, n, b'x')]), 'open'),
    OfExit('§7', 'RESET before OPENED by an exit', 'GO_AWAY wrong-state',
           frames_for(lambda n: [frame(RESET, n, u16(41))]), 'open'),
    OfExit('§8', 'OPENED with credit 2^31', 'GO_AWAY credit-overflow',
           frames_for(lambda n: [frame(OPENED, n, u32(2**31))]), 'open'),
    OfExit('§5', 'OPEN_FAILED with an unknown code', 'goes on', frames_for(lambda n: [frame(OPEN_FAILED, n, u16(500))]),
           'open'),
    OfExit('§6', 'PING of an exit before HELLO', 'GO_AWAY bad-frame', sends(frame(PING, 0, bytes(8))), 'greeting'),
    OfExit('§6', 'a second HELLO of an exit', 'GO_AWAY bad-frame', sends(hello(), hello()), 'greeting'),
    OfExit('§6', 'HELLO of an exit with version 2', 'GO_AWAY bad-version', sends(hello(version=2)), 'greeting'),
    OfExit('§4', 'a frame of an exit with type 0x0b', 'GO_AWAY bad-frame', sends(hello(), frame(0x0B, 0)), 'greeting'),
    OfExit('§4', 'a frame of an exit with type 0x80', 'goes on', sends(hello(), frame(0x80, 0)), 'greeting'),
    OfExit('§3.1', 'a record of an exit with flag 08', 'GO_AWAY bad-record', says(b'\x08' + hello()), 'greeting'),
    OfExit('§10', 'more acknowledged by an exit than was sent', 'GO_AWAY bad-record',
           says(bytes([ACKNOWLEDGES | UNNUMBERED]) + acknowledgement(999, 0))),
    OfExit('§2.4', 'a record of an exit that does not verify', 'aborted, then resumed', message(bytes(40))),
    OfExit('§12', 'a text message of an exit', 'aborted, then resumed', message(b'hello', opcode=TEXT)),
    OfExit('§10', 'an answer of 7 bytes', 'aborted', lambda link: link.send(answer(0)[:7]), 'answer'),
    OfExit('§10', 'an answer to begin with something received', 'aborted',
           lambda link: link.send(answer(0, 5)), 'answer'),
    OfExit('§10', '`session-unknown` for a session that begins', 'waits before it tries again',
           lambda link: link.send(answer(frames.NUMBERS['session-unknown'])), 'answer'),
]  # fmt: skip
MOST_ATTEMPTS, ATTEMPT_SECONDS = 6, 2


class BadSession(ExitSession):
    def __init__(self, violation: OfExit):
        super().__init__()
        self.violation, self.note, self.is_told, self.how_lost = violation, '', False, ''

    def tell(self, seen: str):
        if not self.is_told:
            tell(self.violation, self.note + seen)
        self.is_told = True

    def act(self, stream: int = 0):
        self.violation.act(self, stream)
        self.send(frame(PING, 0, TOKEN))

    def start(self, link: SecureLink):
        if self.violation.when != 'greeting':
            return super().start(link)
        self.link = link
        self.act()

    def handle_open(self, stream_id: int, payload: bytes):
        if self.violation.when != 'open':
            super().handle_open(stream_id, payload)
        if self.violation.when != 'greeting':
            self.act(stream_id)

    def handle_frame(self, kind: int, stream_id: int, payload: bytes):
        if kind == OPEN_FAILED:
            self.note = f'OPEN_FAILED {code_name(struct.unpack(">H", payload)[0])}, '
        if kind == frames.PONG and not self.how_lost:
            self.tell('goes on')
        super().handle_frame(kind, stream_id, payload)

    def handle_go_away(self, code: str):
        self.link.ws.wait_until_ended(2)
        end = end_of_link(self.link.ws)
        self.tell(f'GO_AWAY {code}' + ('' if end == 'closed with 1000' else f', but {end}'))
        super().handle_go_away(code)

    def lose_link(self):
        if self.link:
            self.link.ws.wait_until_ended(1)
            self.how_lost = end_of_link(self.link.ws)
        super().lose_link()

    def move_to(self, link: SecureLink, peer_received: int):
        self.tell(f'{self.how_lost}, then resumed')
        super().move_to(link, peer_received)


class BadExit(NamedExit):
    """Each client gets the violation of its own."""

    def __init__(self, violations: list[OfExit]):
        identities = [Identity(os.urandom(32)) for _ in violations]
        super().__init__(invite_of_environment(), identities, lambda key: BadSession(self.violations[key]))
        keys = [identity.session_public for identity in identities]
        self.violations = dict(zip(keys, violations, strict=True))
        self.first_attempt: dict[bytes, float] = {}
        self.attempts: dict[bytes, int] = dict.fromkeys(keys, 0)

    def admit(self, link: SecureLink):
        violation = self.violations[link.peer_key]
        if violation.when != 'answer':
            return super().admit(link)
        link.receive(10)
        violation.act(link)
        self.count_attempt(link.peer_key)
        if violation.promised == 'aborted':
            link.ws.wait_until_ended(2)
            return tell(violation, end_of_link(link.ws))
        link.ws.close()

    def count_attempt(self, client: bytes):
        self.attempts[client] += 1
        self.first_attempt.setdefault(client, time.monotonic())

    def serve_once(self):
        super().serve_once()
        for client, first in list(self.first_attempt.items()):
            if time.monotonic() > first + ATTEMPT_SECONDS:
                del self.first_attempt[client]
                attempts, violation = self.attempts[client], self.violations[client]
                if violation.promised != 'aborted':
                    seen = violation.promised if attempts <= MOST_ATTEMPTS else f'{attempts} attempts'
                    tell(violation, seen)


# Before the session


def bad_message_2(ws: WebSocket):
    ws.send(HANDSHAKE + bytes(48))


def forged_rotation(ws: WebSocket):
    ws.send(NOTICE + u16(frames.NUMBERS['keys-rotated']) + bytes(32))
    ws.close()


BEFORE = [
    Violation('§2.4', 'a message 2 that does not verify', 'aborted', bad_message_2),
    Violation('§2.2', 'keys-rotated with a proof that is wrong', 'closed with 1000', forged_rotation),
]
PAYLOAD = Violation('§2.4', 'a payload in message 2', 'begins a session')


class BadHandshakes(NamedExit):
    """One client, which tries again after each of them."""

    def __init__(self):
        super().__init__(invite_of_environment(), [Identity(os.urandom(32))], lambda _: ExitSession())
        self.to_do = list(BEFORE)

    def answer_call(self, token: str):
        ws = self._connect(token)
        if not self.to_do:
            return self.answer_with_payload(ws)
        violation = self.to_do.pop(0)
        ws.receive(10)
        violation.act(ws)
        ws.wait_until_ended(2)
        tell(violation, end_of_link(ws))
        ws.abort()

    def answer_with_payload(self, ws: WebSocket):
        first = ws.receive(10)
        handshake = HandshakeState(first[2], PROLOGUE + first[:HEADER_BYTES], self.invite.me.session_private)
        handshake.read_message_1(first[HEADER_BYTES:])
        ws.send(HANDSHAKE + handshake.write_message_2(b'payload'))
        handshake.read_message_3(ws.receive(10)[1:])
        self.admit(SecureLink(ws, handshake))
        tell(PAYLOAD, 'begins a session')


is_handshake = sys.argv[1:] == ['handshake']
exit_ = BadHandshakes() if is_handshake else BadExit(IN_SESSION)
exit_.register()
tasks = [{}] if is_handshake else [{'name': full_name(v), 'opens': v.when in ('open', 'opened')} for v in IN_SESSION]
secrets = [exit_.invite_for(client) for client in exit_.clients]
say('ready', clients=[{'invite': text} | task for text, task in zip(secrets, tasks, strict=True)])
exit_.serve()
