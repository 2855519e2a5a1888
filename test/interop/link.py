"""A secured link: the handshake, then whole records in and out (docs/protocol.md §2.4)."""

import struct
import time
from collections.abc import Callable

from cryptography.exceptions import InvalidTag

from frames import code_name
from invites import Invite
from keys import Identity
from noise import AES_GCM, CHACHAPOLY, HandshakeState
from tickets import Ticket, audience_of, seal_ticket, shared_key
from websocket import LinkEnded, Refused, WebSocket, connect

PROLOGUE = b'wstun/1\0'
NOTICE, HANDSHAKE = b'\0', b'\x01'
HEADER_BYTES = 6
NEW_INVITE_SECONDS = 5


class Notice(Exception):
    """What a relay says where it cannot hand the link on. Its text is the name of the code."""

    def __init__(self, message: bytes):
        super().__init__(code_name(struct.unpack('>H', message[1:3])[0]))
        self.proof = message[3:]


def header(version=1, suite=CHACHAPOLY, features=0, encryption=1, kind=1) -> bytes:
    return struct.pack('>BBBHB', kind, version, suite, features, encryption)


def unaltered(_number: int, message: bytes) -> bytes:
    return message


class SecureLink:
    def __init__(self, ws: WebSocket, handshake: HandshakeState, is_sealed=True):
        self.ws, self.is_sealed, self.peer_key = ws, is_sealed, handshake.rs
        self.sealer, self.opener = handshake.split()

    def send(self, content: bytes):
        self.ws.send(self.sealer.seal(content) if self.is_sealed else content)

    def receive(self, timeout: float = 5) -> bytes:
        message = self.ws.receive(timeout)
        return self.opener.open(message) if self.is_sealed else message


def secure_as_client(
    ws: WebSocket,
    me: Identity,
    exit_key: bytes,
    head: bytes = header(),
    payloads: tuple[bytes, bytes] = (b'', b''),
    alter: Callable[[int, bytes], bytes] = unaltered,
) -> SecureLink:
    """`payloads` are those of messages 1 and 3; `alter` may change these messages."""
    suite = head[2] if head[2] in (CHACHAPOLY, AES_GCM) else CHACHAPOLY
    handshake = HandshakeState(suite, PROLOGUE + head, me.session_private, exit_key)
    ws.send(alter(1, head + handshake.write_message_1(payloads[0])))
    answer = ws.receive()
    if answer[:1] == NOTICE:
        raise Notice(answer)
    if answer[:1] != HANDSHAKE:
        raise LinkEnded('message 2 is no handshake message')
    handshake.read_message_2(answer[1:])
    ws.send(alter(3, HANDSHAKE + handshake.write_message_3(payloads[1])))
    return SecureLink(ws, handshake, is_sealed=head[5] != 0)


def secure_as_exit(ws: WebSocket, me: Identity, access: list[bytes]) -> SecureLink:
    """`access`: the session public keys of the clients that may come. Who catches LinkEnded ends the link."""
    message = ws.receive(10)
    head = message[:HEADER_BYTES]
    if head not in (header(suite=CHACHAPOLY), header(suite=AES_GCM)):
        raise LinkEnded('a header that this end would not write')
    handshake = HandshakeState(head[2], PROLOGUE + head, me.session_private)
    try:
        handshake.read_message_1(message[HEADER_BYTES:])
        ws.send(HANDSHAKE + handshake.write_message_2())
        message = ws.receive(10)
        handshake.read_message_3(message[1:])
    except InvalidTag:
        raise LinkEnded('handshake') from None
    if message[:1] != HANDSHAKE or handshake.rs not in access:
        raise LinkEnded('not a client of this exit')
    return SecureLink(ws, handshake)


def connect_patiently(url: str, make_ticket: Callable[[], str]) -> WebSocket:
    """A relay may need a moment until it knows a new invite, and answers as it answers strangers meanwhile."""
    end = time.monotonic() + NEW_INVITE_SECONDS
    while True:
        try:
            return connect(url, make_ticket())
        except Refused:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


class Connector:
    """Opens links for one invite."""

    def __init__(self, invite: Invite, **options):
        """`options` are those of secure_as_client."""
        self.invite, self.options = invite, options
        self.key = shared_key(invite.me, invite.relay_gate_key)

    def ticket(self) -> str:
        audience = audience_of(self.invite.url)
        return seal_ticket(self.key, Ticket(destination=self.invite.exit_name.encode(), audience=audience))

    def __call__(self) -> SecureLink:
        ws = connect_patiently(self.invite.url, self.ticket)
        return secure_as_client(ws, self.invite.me, self.invite.exit_session_key, **self.options)
