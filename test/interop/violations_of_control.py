"""An exit that breaks the rules of its control link and of its tickets: section 11 of docs/protocol.md."""

import json
import os

from keys import Identity, to_base64url
from link import connect_patiently
from report import invite_of_environment
from tickets import ROLE_CLIENT, ROLE_EXIT, Ticket, seal_ticket, shared_key
from violation import Violation, end_of_link, tell
from websocket import BINARY, TEXT, LinkEnded, Refused, WebSocket, connect

invite = invite_of_environment()
key = shared_key(invite.me, invite.relay_gate_key)
CLIENT_KEY = to_base64url(Identity(os.urandom(32)).gate_public)
UNSEEN_TOKEN = b'0' * 32


def control_link() -> WebSocket:
    return connect(invite.url, seal_ticket(key, Ticket(ROLE_EXIT)))


def reaction_to(*messages: bytes, opcode=BINARY):
    """What the relay answers, or how it ends the link. It answers a list only if it reads on, so one comes last."""

    def act() -> str:
        ws = control_link()
        for message in messages:
            ws.send(message, opcode)
        ws.send(bearers([CLIENT_KEY]))
        try:
            return json.loads(ws.receive())['type']
        except LinkEnded:
            return end_of_link(ws)
        finally:
            ws.abort()

    return act


def bearers(keys: list[str], **members) -> bytes:
    return json.dumps({'type': 'bearers', 'keys': keys, 'more': False} | members).encode()


def encoded(message) -> bytes:
    return json.dumps(message).encode()


def data_link_without_call() -> str:
    ws = connect(invite.url, seal_ticket(key, Ticket(ROLE_EXIT, UNSEEN_TOKEN)))
    ws.wait_until_ended(3)
    return end_of_link(ws)


def second_control_link() -> str:
    first, second = control_link(), control_link()
    first.wait_until_ended(3)
    said = [json.loads(message)['type'] for _, message in first.messages]
    second.abort()
    return f'{" ".join(said)}, {end_of_link(first)}'


def twice(ticket: Ticket):
    """Whether the relay rejects the ticket. Both times, for it is not used up."""

    def act() -> str:
        text = seal_ticket(key, ticket)
        return f'{admission(text)}, then {admission(text)}'

    return act


def admission(text: str) -> str:
    try:
        connect(invite.url, text).abort()
    except Refused:
        return 'rejected'
    return 'admitted'


REGISTERED, ABORTED, REJECTED = 'registered', 'aborted', 'rejected, then rejected'
LOW_ORDER = to_base64url(bytes(32))
ROWS = [
    Violation('§11', 'white space in a control message', REGISTERED, reaction_to(b' { "type" :\n"ping" } ')),
    Violation('§11', 'a message of 60,000 bytes', REGISTERED, reaction_to(bearers([CLIENT_KEY]).ljust(60_000))),
    Violation('§11', 'a message of 60,001 bytes', ABORTED, reaction_to(bearers([CLIENT_KEY]).ljust(60_001))),
    Violation('§11', 'an additional member', ABORTED, reaction_to(bearers([CLIENT_KEY], x=1))),
    Violation('§11', 'a list without `more`', ABORTED, reaction_to(encoded({'type': 'bearers', 'keys': []}))),
    Violation('§11', 'a number as `more`', ABORTED, reaction_to(bearers([], more=1))),
    Violation('§11', 'a number as a key', ABORTED,
              reaction_to(encoded({'type': 'bearers', 'keys': [1], 'more': False}))),
    Violation('§11', 'a key of 42 characters', ABORTED, reaction_to(bearers([CLIENT_KEY[:-1]]))),
    Violation('§1.2', 'a key with unused bits', ABORTED, reaction_to(bearers([LOW_ORDER[:-1] + 'B']))),
    Violation('§11', 'a key of small order beside a good one', REGISTERED,
              reaction_to(bearers([LOW_ORDER, CLIENT_KEY]))),
    Violation('§11', 'a message of an unknown type', ABORTED, reaction_to(encoded({'type': 'hello'}))),
    Violation('§11', 'a message from the wrong side', ABORTED, reaction_to(encoded({'type': 'registered'}))),
    Violation('§11', 'a list instead of an object', ABORTED, reaction_to(b'[]')),
    Violation('§11', 'a byte order mark', ABORTED, reaction_to(b'\xef\xbb\xbf{"type":"ping"}')),
    Violation('§11', 'bytes that are no UTF-8', ABORTED, reaction_to(b'{"type":"\xff"}')),
    Violation('§11', 'a text message', ABORTED, reaction_to(b'{"type":"ping"}', opcode=TEXT)),
    Violation('§11', 'a data link that answers no call', 'closed with 1000', data_link_without_call),
    Violation('§11', 'a second control link', 'replaced, closed with 1000', second_control_link),
    Violation('§11', 'the role client for a key of an exit', REJECTED, twice(Ticket(ROLE_CLIENT))),
    Violation('§11', 'a name as the destination of an exit', REJECTED, twice(Ticket(ROLE_EXIT, b'home'))),
    Violation('§11', 'a token in upper case', REJECTED, twice(Ticket(ROLE_EXIT, b'A' * 32))),
    Violation('§11', 'a token of 31 digits', REJECTED, twice(Ticket(ROLE_EXIT, b'0' * 31))),
]  # fmt: skip

connect_patiently(invite.url, lambda: seal_ticket(key, Ticket(ROLE_EXIT))).abort()
for row in ROWS:
    tell(row, row.act())
