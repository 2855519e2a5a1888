"""A client that breaks the rules of tickets, upgrade, handshake and request.

They are in sections 1 and 2 of docs/protocol.md; those of the request in section 10.
"""

import base64
import os
import re
import struct
import time
from dataclasses import dataclass, field, replace

import frames
import targets
from client_session import ClientSession, SessionOver
from frames import BEGIN, RESUME, code_name, hello, request
from keys import Identity, public_key
from link import Connector, SecureLink, header, secure_as_client, unaltered
from noise import AES_GCM, CHACHAPOLY
from report import invite_of_environment
from tickets import FEATURE_AUDIENCE, FEATURE_PAGE, ROLE_EXIT, Ticket, audience_of, proven_reason, seal_ticket
from violation import Violation, end_of_link, tell
from websocket import TEXT, LinkEnded, Refused, Upgrade, WebSocket, connect

invite = invite_of_environment()
connector = Connector(invite)
key = connector.key
EPOCH = int(time.time()) // 120
ECHO = targets.serve(targets.echo)

# Tickets and upgrades


def without(names: str, head: str) -> str:
    return re.sub(rf'^({names}): .*\n', '', head, flags=re.IGNORECASE | re.MULTILINE)


def refusal_of(text: str, upgrade: Upgrade = Upgrade()) -> Refused | None:
    try:
        connect(invite.url, text, upgrade).abort()
    except Refused as refused:
        return refused
    return None


FOR_STRANGERS = refusal_of('A' * 168)


def admission(text: str, upgrade: Upgrade = Upgrade(), reason: str | None = None) -> str:
    """`rejected` for the answer that strangers get. A relay may prove the reason, and that must be the right one."""
    refused = refusal_of(text, upgrade)
    if refused is None:
        return 'admitted'
    proof = proven_reason(key, text, refused.head)
    # An answer with a proof may also close the connection.
    names = 'date|etag|connection|keep-alive' if proof else 'date'
    if (without(names, refused.head), refused.body) != (without(names, FOR_STRANGERS.head), FOR_STRANGERS.body):
        return f'answered {refused.head!r}'
    return 'rejected' if proof in (None, reason) else f'rejected, proven {proof}'


@dataclass
class Attempt:
    """A ticket, the request that it goes with, and the one reason that a refusal may prove."""

    ticket: Ticket = field(default_factory=Ticket)
    upgrade: Upgrade = field(default_factory=Upgrade)
    reason: str | None = None
    text: str | None = None  # instead of the ticket's

    def __call__(self) -> str:
        text, path = self.text or seal_ticket(key, self.ticket), self.upgrade.path
        upgrade = replace(self.upgrade, path=path and path.replace('TICKET', text))
        return admission(text, upgrade, self.reason)


def then_right(attempt: Attempt):
    """The same ticket in a right request afterwards: whether it was used up."""

    def act() -> str:
        attempt.text = seal_ticket(key, attempt.ticket)
        return f'{attempt()}, then {admission(attempt.text)}'

    return act


def same_twice() -> str:
    text = seal_ticket(key)
    return f'{admission(text)}, then {admission(text)}'


def length_64() -> bytes:
    return struct.pack('>BBQHHB', 1, 1, int(time.time()), 1, 0, 64) + bytes(63)


def ago(seconds: float, **fields) -> Ticket:
    return Ticket(time=time.time() - seconds, **fields)


REJECTED = 'rejected'
ELSEWHERE = audience_of('wss://elsewhere.example')
KEPT = 'rejected, then admitted'
TICKETS = [
    Violation('§2.2', 'a ticket twice', 'admitted, then rejected', same_twice),
    Violation('§2.2', 'a ticket of 118 s ago', 'admitted', Attempt(ago(118))),
    Violation('§2.2', 'a ticket of 118 s ahead', 'admitted', Attempt(ago(-118))),
    Violation('§2.2', 'a ticket of 123 s ago', REJECTED, Attempt(ago(123, epoch=EPOCH), reason='clock-off')),
    Violation('§2.2', 'a ticket of 123 s ahead', REJECTED, Attempt(ago(-123, epoch=EPOCH), reason='clock-off')),
    Violation('§2.2', 'a hint of the epoch before', 'admitted', Attempt(Ticket(epoch=EPOCH - 1))),
    Violation('§2.2', 'a hint of an epoch long ago', REJECTED, Attempt(Ticket(epoch=EPOCH - 3))),
    Violation('§2.2', 'a ticket of version 0', REJECTED, Attempt(Ticket(version=0))),
    Violation('§2.2', 'a ticket of version 2', REJECTED, Attempt(Ticket(version=2))),
    Violation('§2.2', 'a ticket of role 0', REJECTED, Attempt(Ticket(role=0))),
    Violation('§2.2', 'a ticket of role 3', REJECTED, Attempt(Ticket(role=3))),
    Violation('§2.2', 'the role exit for a key of a client', REJECTED, Attempt(Ticket(role=ROLE_EXIT))),
    Violation('§2.2', 'another version of the session protocol', 'admitted', Attempt(Ticket(protocol=65535))),
    Violation('§2.2', 'unknown feature bits', 'admitted', Attempt(Ticket(features=0x007F))),
    Violation('§2.2', 'a ticket for this relay', 'admitted', Attempt(Ticket(audience=audience_of(invite.url)))),
    Violation('§2.2', 'a ticket for another relay', REJECTED, Attempt(Ticket(audience=ELSEWHERE))),
    Violation('§2.2', 'a ticket of another clock for another relay', REJECTED,
              Attempt(ago(123, epoch=EPOCH, audience=ELSEWHERE))),
    Violation('§2.2', 'the bit `audience` with a random nonce', REJECTED, Attempt(Ticket(features=FEATURE_AUDIENCE))),
    Violation('§2.2', 'the destination of an unknown exit', REJECTED, Attempt(Ticket(destination=b'nosuch'))),
    Violation('§2.2', 'a destination that is no name', REJECTED, Attempt(Ticket(destination=b'-x'))),
    Violation('§2.2', 'a destination that is not zero after its end', REJECTED, Attempt(Ticket(tail=b'\x01'))),
    Violation('§2.2', 'a destination of 64 bytes', REJECTED, Attempt(Ticket(payload=length_64()))),
    Violation('§2.2', 'a payload of 77 bytes', REJECTED, Attempt(Ticket(payload=length_64()[:77]))),
    Violation('§2.2', 'a payload of 79 bytes', REJECTED, Attempt(Ticket(payload=length_64() + b'\0'))),
    Violation('§1.2', 'a ticket with padding', REJECTED, Attempt(upgrade=Upgrade(path='/TICKET='))),
]


def fields(**headers):
    return Upgrade(headers={name.replace('_', '-'): value for name, value in headers.items()})


SHORT_KEY = base64.b64encode(bytes(15)).decode()
ABSOLUTE = f'{invite.url.replace("ws:", "http:")}/TICKET'
DROPPED, WRONG_PATH = 'upgrade-dropped', 'wrong-path'
UPGRADES = [
    Violation('§2.2', 'an upgrade with Origin and a ticket without `page`', KEPT,
              then_right(Attempt(upgrade=fields(Origin='http://a')))),
    Violation('§2.2', 'an upgrade with an empty Origin', KEPT, then_right(Attempt(upgrade=fields(Origin='')))),
    Violation('§2.2', 'an upgrade with Origin and a ticket with `page`', 'admitted',
              Attempt(Ticket(features=FEATURE_PAGE), fields(Origin='null'))),
    Violation('§2.2', 'a ticket with `page` without Origin', 'admitted', Attempt(Ticket(features=FEATURE_PAGE))),
    Violation('§2.2', 'an upgrade with a subprotocol', KEPT,
              then_right(Attempt(upgrade=fields(Sec_WebSocket_Protocol='chat'), reason=DROPPED))),
    Violation('§2.2', 'an upgrade by POST', KEPT, then_right(Attempt(upgrade=Upgrade(method='POST'), reason=DROPPED))),
    Violation('§2.2', 'an upgrade to h2c, with a ticket for another relay', REJECTED,
              Attempt(Ticket(audience=ELSEWHERE), fields(Upgrade='h2c'))),
    Violation('§2.2', 'an upgrade to h2c', KEPT, then_right(Attempt(upgrade=fields(Upgrade='h2c'), reason=DROPPED))),
    Violation('§2.2', 'an upgrade to websocket and h2c', KEPT,
              then_right(Attempt(upgrade=fields(Upgrade='websocket, h2c'), reason=DROPPED))),
    Violation('§2.2', 'a Connection without upgrade', KEPT,
              then_right(Attempt(upgrade=fields(Connection='keep-alive'), reason=DROPPED))),
    Violation('§2.2', 'version 8 of the WebSocket', KEPT,
              then_right(Attempt(upgrade=fields(Sec_WebSocket_Version='8'), reason=DROPPED))),
    Violation('§2.2', 'a WebSocket key of 15 bytes', KEPT,
              then_right(Attempt(upgrade=fields(Sec_WebSocket_Key=SHORT_KEY), reason=DROPPED))),
    Violation('§2.2', 'no WebSocket key', KEPT,
              then_right(Attempt(upgrade=Upgrade(without=('Sec-WebSocket-Key',)), reason=DROPPED))),
    Violation('§2.2', 'a query', KEPT, then_right(Attempt(upgrade=Upgrade(path='/TICKET?a'), reason=WRONG_PATH))),
    Violation('§2.2', 'a slash after the ticket', KEPT,
              then_right(Attempt(upgrade=Upgrade(path='/TICKET/'), reason=WRONG_PATH))),
    Violation('§2.2', 'a target in absolute form', KEPT,
              then_right(Attempt(upgrade=Upgrade(path=ABSOLUTE), reason=WRONG_PATH))),
    Violation('§1.3', 'an offer of compression', 'admitted',
              Attempt(upgrade=fields(Sec_WebSocket_Extensions='permessage-deflate'))),
]  # fmt: skip

# Handshakes


def open_link() -> WebSocket:
    return connect(invite.url, seal_ticket(key))


def handshake(me: Identity = invite.me, exit_key: bytes = invite.exit_session_key, head=header(), **options):
    """`answered`, or how the link ended. It must do so without a word."""

    def act() -> str:
        ws = open_link()
        try:
            link = secure_as_client(ws, me, exit_key, head, **options)
            link.send(request(BEGIN, os.urandom(16), 0))
            return f'answered {code_of(link)}'
        except LinkEnded:
            return end_of_link(ws)
        finally:
            ws.abort()

    return act


def code_of(link: SecureLink) -> str:
    code, _ = frames.read_answer(link.receive())
    return code_name(code) if code else 'ok'


def altered(number: int, change):
    return lambda at, message: change(message) if at == number else unaltered(at, message)


def last_bit(message: bytes) -> bytes:
    return message[:-1] + bytes([message[-1] ^ 1])


def first_message(payload: bytes, **options):
    def act() -> str:
        ws = open_link()
        ws.send(payload, **options)
        ws.wait_until_ended(3)
        return end_of_link(ws)

    return act


ABORTED = 'aborted'
HANDSHAKES = [
    Violation('§2.4', 'a payload in message 1', 'answered ok', handshake(payloads=(b'hello', b''))),
    Violation('§2.4', 'a payload in message 3', 'answered ok', handshake(payloads=(b'', b'hello'))),
    Violation('§2.4', 'a message 1 of 4,096 bytes', 'answered ok', handshake(payloads=(bytes(4096 - 54), b''))),
    Violation('§2.4', 'a message 1 of 4,097 bytes', ABORTED, handshake(payloads=(bytes(4097 - 54), b''))),
    Violation('§2.4', 'a message 3 of 4,097 bytes', ABORTED, handshake(payloads=(b'', bytes(4097 - 65)))),
    Violation('§2.4', 'a header of version 2', ABORTED, handshake(head=header(version=2))),
    Violation('§2.4', 'a header of suite 0', ABORTED, handshake(head=header(suite=0))),
    Violation('§2.4', 'a header of suite 3', ABORTED, handshake(head=header(suite=3))),
    Violation('§2.4', 'a header with a feature', ABORTED, handshake(head=header(features=1))),
    Violation('§2.4', 'a header of encryption 2', ABORTED, handshake(head=header(encryption=2))),
    Violation('§2.4', 'a header of type 2', ABORTED, handshake(head=header(kind=2))),
    Violation('§2.4', 'a suite in the header that is not that of message 1', ABORTED,
              handshake(head=header(suite=CHACHAPOLY), alter=altered(1, lambda m: header(suite=AES_GCM) + m[6:]))),
    Violation('§2.4', 'a static key that the exit does not know', ABORTED, handshake(me=Identity(os.urandom(32)))),
    Violation('§2.4', 'another static key of the exit', ABORTED, handshake(exit_key=public_key(os.urandom(32)))),
    Violation('§2.4', 'a message 1 with another last bit', ABORTED, handshake(alter=altered(1, last_bit))),
    Violation('§2.4', 'a message 3 with another last bit', ABORTED, handshake(alter=altered(3, last_bit))),
    Violation('§2.4', 'a message 3 that begins with 02', ABORTED, handshake(alter=altered(3, lambda m: b'\2' + m[1:]))),
    Violation('§2.1', 'an ephemeral key of zeros', ABORTED,
              handshake(alter=altered(1, lambda m: m[:6] + bytes(32) + m[38:]))),
    Violation('§2.4', 'a message 1 that is cut', ABORTED, handshake(alter=altered(1, lambda m: m[:-1]))),
    Violation('§2.4', 'an empty message 3', ABORTED, handshake(alter=altered(3, lambda _: b''))),
    Violation('§12', 'a text message in the handshake', ABORTED, first_message(b'hello', opcode=TEXT)),
]  # fmt: skip

# Requests


def first_record(content: bytes):
    def act() -> str:
        link = connector()
        link.send(content)
        try:
            code = code_of(link)
        except LinkEnded:
            return end_of_link(link.ws)
        link.ws.wait_until_ended(2)
        return f'{code}, {end_of_link(link.ws)}'

    return act


def begun_session() -> ClientSession:
    """One with a stream that has carried something, and nothing left to be acknowledged."""
    session = ClientSession(connector).begin()
    stream = session.open(ECHO)
    session.write(stream, b'abc')
    session.until(lambda: len(stream.received) == 3 and not session.unacknowledged)
    return session


def outcome_of(join) -> str:
    try:
        join()
    except SessionOver as over:
        return str(over)
    return 'goes on'


def id_that_exists() -> str:
    session = begun_session()
    other = ClientSession(connector, session.id)
    return f'{outcome_of(lambda: other.join(BEGIN, 0))}, then {echo_again(session)}'


def received_off_by(difference: int):
    def act() -> str:
        session = begun_session()
        session.link.ws.abort()
        refused = outcome_of(lambda: session.join(RESUME, session.received + difference))
        return f'{refused}, then {outcome_of(session.resume)} and {echo_again(session)}'

    return act


def echo_again(session: ClientSession) -> str:
    stream = session.streams[1]
    session.write(stream, b'def')
    session.until(lambda: bytes(stream.received) == b'abcdef')
    session.close()
    return 'carries bytes'


def records_without_waiting() -> str:
    """After a request to begin, as section 10 allows."""
    session = ClientSession(connector)
    link = connector()
    link.send(request(BEGIN, session.id, 0))
    session.link = link
    session.send(hello(), frames.open_frame(1, '127.0.0.1', ECHO, 1000))
    stream = session.expect_stream(1)
    code = code_of(link)
    session.until(lambda: stream.state != 'opening')
    session.close()
    return f'{code}, {stream.state}'


def late_request() -> str:
    """A request on a link that was opened before the one that carries the session now, with an old number."""
    session = begun_session()
    late, before = connector(), session.received
    session.resume()
    echo = session.open(ECHO)
    session.write(echo, b'x')
    session.until(lambda: echo.received == b'x')
    late.send(request(RESUME, session.id, before - 1))
    return f'{code_of(late)}, then {echo_again(session)}'


ID = os.urandom(16)
REQUESTS = [
    Violation('§10', 'a request of 22 bytes', ABORTED, first_record(request(BEGIN, ID, 0)[:22])),
    Violation('§10', 'a request of 24 bytes', ABORTED, first_record(request(BEGIN, ID, 0) + b'\0')),
    Violation('§10', 'an empty request', ABORTED, first_record(b'')),
    Violation('§10', 'a request of kind 3', ABORTED, first_record(request(3, ID, 0))),
    Violation('§10', 'a request to begin that has received something', ABORTED, first_record(request(BEGIN, ID, 5))),
    Violation('§10', 'a request to resume an unknown session', 'session-unknown, closed with 1000',
              first_record(request(RESUME, ID, 0))),
    Violation('§10', 'a request to begin with an id that exists', 'session-gap, then carries bytes', id_that_exists),
    Violation('§10', 'more received than was sent', 'session-gap, then goes on and carries bytes', received_off_by(5)),
    Violation('§10', 'less received than was acknowledged', 'session-gap, then goes on and carries bytes',
              received_off_by(-1)),
    Violation('§10', 'a late request with an old number', 'session-gap, then carries bytes', late_request),
    Violation('§10', 'records right after a request to begin', 'ok, open', records_without_waiting),
]  # fmt: skip

connector().ws.abort()  # waits until the relay knows the invite
for row in [*TICKETS, *UPGRADES, *HANDSHAKES, *REQUESTS]:
    tell(row, row.act())
