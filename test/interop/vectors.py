"""Makes every test vector of docs/protocol.md, appendix A, with the peer's own code. Argument: the page."""

import json
import re
import sys
from dataclasses import replace

from nacl.bindings import crypto_secretbox

import frames
import http_link
import session_end
from client_session import ClientSession
from frames import (
    ACKNOWLEDGEMENT_MAY_WAIT, ACKNOWLEDGES, BEGIN, RESUME, UNNUMBERED, acknowledgement, frame, frame_header,
    take_frames,
)  # fmt: skip
from invites import CLIENT, EXIT, Invite, decode_invite, encode_invite
from keys import Identity, from_base64url, is_public_key, to_base64url
from link import PROLOGUE, header
from noise import AES_GCM, CHACHAPOLY, CipherState, HandshakeState
from report import say
from session_end import SessionEnd
from tickets import (
    EPOCH_SECONDS, FEATURE_PAGE, ROLE_CLIENT, ROLE_EXIT, Ticket, audience_in, audience_of, hint_of, mask_audience,
    nonce_of, open_ticket, proven_reason, refusal_key, rotation_proof, seal_ticket, shared_key,
)  # fmt: skip

CLIENT_SECRET, RELAY_SECRET = bytes([1]) * 32, bytes([7]) * 32
COUNTING = bytes(range(16))
TIME = 1_700_000_000
TAKEN, SEEN, OCCUPIED = 0x4000, 0x2000, 0x1000
AUDIENCES = {
    'default-port': 'wss://relay.example.org',
    'port': 'ws://relay.example.org:8080',
    'path': 'wss://relay.example.org/any/path',
    'ipv6': 'ws://[2001:db8::1]',
}
CREDIT = 262_144
client, relay = Identity(CLIENT_SECRET), Identity(RELAY_SECRET)


def read_vectors(page: str) -> dict[str, str]:
    """All vectors of the page: name and value."""
    appendix = page[page.index('## Appendix A'):]
    blocks = re.findall(r'^```text\n(.*?)^```', appendix, re.DOTALL | re.MULTILINE)
    lines = ''.join(blocks).replace('\n  ', '').split('\n')
    return dict(line.split(': ', 1) for line in lines if line and not line.startswith('#'))


def keys() -> dict:
    made = {}
    for name, identity in (('client', client), ('relay', relay)):
        made[f'{name}.secret'] = identity.secret
        made[f'{name}.public.text'] = identity.public_text()
        made[f'{name}.secret.text'] = identity.secret_text()
        made[f'{name}.gate.private'], made[f'{name}.gate.public'] = identity.gate_private, identity.gate_public
        made[f'{name}.session.private'] = identity.session_private
        made[f'{name}.session.public'] = identity.session_public
    return made


def invites() -> dict:
    def invite(*rest) -> str:
        return encode_invite(Invite('wss://relay.example.org', relay.gate_public, relay.session_public, client, *rest))

    pin = bytes([9] * 32)
    made = {'client': invite('home', CLIENT), 'exit': invite('home', EXIT), 'without-role': invite()}
    made['pinned'] = invite('', CLIENT, [pin])
    return {'invite.pinned.pin': pin} | {f'invite.{name}.text': text for name, text in made.items()}


def tickets() -> dict:
    key, epoch, nonce = shared_key(client, relay.gate_public), TIME // EPOCH_SECONDS, bytes(range(24))
    home = Ticket(ROLE_CLIENT, b'home', time=TIME, nonce=nonce)
    others = {
        'page': Ticket(ROLE_CLIENT, features=FEATURE_PAGE, time=TIME, nonce=nonce),
        'control': Ticket(ROLE_EXIT, features=TAKEN | SEEN | OCCUPIED, time=TIME, nonce=nonce),
        'call': Ticket(ROLE_EXIT, COUNTING.hex().encode(), time=TIME, nonce=nonce),
    }
    for_one = seal_ticket(key, replace(home, audience=audience_of('wss://relay.example.org')))
    text = seal_ticket(key, home)
    proof = rotation_proof(key, text)
    return {
        'ticket.K': key,
        'ticket.time.number': TIME,
        'ticket.epoch.number': epoch,
        'ticket.hint.before': hint_of(key, epoch - 1),
        'ticket.hint': hint_of(key, epoch),
        'ticket.hint.after': hint_of(key, epoch + 1),
        'ticket.nonce': nonce,
        'ticket.payload': home.encode(TIME),
        'ticket.box': from_base64url(text)[32:],
        'ticket.text': text,
        **{f'ticket.{name}.text': seal_ticket(key, ticket) for name, ticket in others.items()},
        **{f'audience.{name}': audience_of(url) for name, url in AUDIENCES.items()},
        'audience.mask': mask_audience(key, nonce, bytes(8)),
        'ticket.audience.nonce': nonce_of(for_one),
        'ticket.audience.text': for_one,
        'rotated.proof': proof,
        'rotated.notice': b'\0' + frames.u16(frames.NUMBERS['keys-rotated']) + proof,
        **refusal(refusal_key(key, text)),
    }


def http() -> dict:
    key, nonce = shared_key(client, relay.gate_public), bytes(range(24))
    ticket = seal_ticket(key, Ticket(ROLE_CLIENT, features=http_link.FEATURE_HTTP, time=TIME, nonce=nonce))
    link = http_link.link_key(key, ticket)
    payloads = {
        'up': http_link.request_payload(http_link.UP, 1, 0, 4096),
        'down': http_link.request_payload(http_link.DOWN, 2, http_link.ALL_ONES, 4100),
        'poll': http_link.request_payload(http_link.POLL, 3, 5000, 5000, 10_000),
        'close': http_link.request_payload(http_link.CLOSE, 4, 22, 5000),
    }
    blocks = [(http_link.MESSAGE_BLOCK, b'ping'), (http_link.PADDING_BLOCK, bytes(4)), (2, b'\x03\xe8')]
    return {
        'http.ticket.text': ticket,
        'http.key': link,
        'http.id': http_link.link_id(link),
        **{f'http.{name}.payload': payload for name, payload in payloads.items()},
        'http.up.text': http_link.segment(link, payloads['up'], bytes(range(24, 48))),
        'http.stream': b''.join(http_link.block(*each) for each in blocks),
        'http.up.answer': (22).to_bytes(8, 'big') + (4096).to_bytes(8, 'big'),
        'http.down.head': (4096).to_bytes(8, 'big'),
        'http.ended': http_link.ALL_ONES.to_bytes(8, 'big'),
    }


def refusal(key: bytes) -> dict:
    nonce, payload = bytes(range(24, 48)), b'\x03' + TIME.to_bytes(8, 'big')
    etag = f'"{to_base64url(nonce + crypto_secretbox(payload, nonce, key))}"'
    return {'refusal.key': key, 'refusal.nonce': nonce, 'refusal.payload': payload, 'refusal.etag.text': etag}


FRAMES = {
    'hello': frames.hello(features=frames.MAY_WAIT, max_streams=1024),
    'open.ipv4': frames.open_frame(1, '192.0.2.1', 443, CREDIT),
    'open.name': frames.open_frame(3, 'example.org', 80, CREDIT),
    'open.ipv6': frames.open_frame(5, '2001:db8::1', 443, CREDIT),
    'open.udp': frames.open_frame(7, *frames.NOWHERE, 0, frames.UDP),
    'open.udp-connected': frames.open_frame(9, '192.0.2.1', 51820, 0, frames.UDP),
    'open.resolver': frames.open_frame(11, *frames.NOWHERE, 65536, frames.RESOLVER),
    'open.tcp-listener': frames.open_frame(13, '127.0.0.1', 8080, 0, frames.TCP_LISTENER),
    'open.accepted': frames.accepted_frame(2, 13, ('192.0.2.7', 49152), 65536),
    'opened.listener': frames.opened(13, 0, ('127.0.0.1', 8080)),
    'datagram.connected': frames.datagram(9, b'ping'),
    'datagram.ipv4': frames.datagram(7, b'ping', ('192.0.2.1', 53)),
    'datagram.name': frames.datagram(7, b'ping', ('example.org', 53)),
    'opened': frames.opened(1, CREDIT),
    'open-failed': frame(frames.OPEN_FAILED, 3, frames.u16(frames.NUMBERS['dial-refused'])),
    'data': frame(frames.DATA, 1, b'ping'),
    'credit': frames.credit(1, 65536),
    'finish': frame(frames.FINISH, 1),
    'reset': frames.reset(1, 'target-reset'),
    'ping': frame(frames.PING, 0, bytes(range(8))),
    'pong': frame(frames.PONG, 0, bytes(range(8))),
    'go-away': frames.go_away(frames.NUMBERS['shutting-down'], 5),
    'links': frame(frames.LINKS, 0, bytes([3]) + frames.u32(16_384)),
    'relays': frames.relays(['wss://a.example', 'ws://[2001:db8::1]:8080/b'], [bytes([0xA5]) * 32]),
    'unknown': frame_header(0x80, 0, 3) + b'\xaa\xbb\xcc',
}
RECORDS = {
    'request': frames.request(BEGIN, COUNTING, 0),
    'answer': frames.answer(0),
    'answer.overloaded': frames.answer(frames.NUMBERS['overloaded']),
    'first': b'\0' + FRAMES['hello'] + FRAMES['open.ipv4'],
    'acknowledgement': bytes([ACKNOWLEDGES | UNNUMBERED]) + acknowledgement(1, 1_000_000),
    'may-wait': bytes([ACKNOWLEDGES | ACKNOWLEDGEMENT_MAY_WAIT]) + acknowledgement(1, 1_000_000) + FRAMES['data'],
    'datagram': bytes([UNNUMBERED]) + FRAMES['datagram.connected'],
    'datagram.acknowledges': bytes([ACKNOWLEDGES | UNNUMBERED]) + acknowledgement(1, 1_000_000)
    + FRAMES['datagram.connected'],
    'empty': b'\0',
}


def handshake(suite: int) -> dict:
    head = header(suite=suite)
    e_client, e_exit = bytes([0x11]) * 32, bytes([0x22]) * 32
    one = HandshakeState(suite, PROLOGUE + head, client.session_private, relay.session_public, ephemeral=e_client)
    other = HandshakeState(suite, PROLOGUE + head, relay.session_private, ephemeral=e_exit)
    message_1 = one.write_message_1()
    other.read_message_1(message_1)
    message_2 = other.write_message_2()
    one.read_message_2(message_2)
    message_3 = one.write_message_3()
    other.read_message_3(message_3)
    assert one.h == other.h and other.rs == client.session_public
    return {
        'client.ephemeral.private': e_client,
        'exit.ephemeral.private': e_exit,
        'prologue': PROLOGUE + head,
        'message.1': head + message_1,
        'message.2': b'\x01' + message_2,
        'message.3': b'\x01' + message_3,
        'hash': one.h,
        **sealed_records(*one.split()),
    }


def sealed_records(of_client: CipherState, of_exit: CipherState) -> dict:
    made = {'key.client': of_client.key, 'key.exit': of_exit.key}
    for name in ('request', 'first', 'acknowledgement'):
        made[f'sealed.{name}'] = of_client.seal(RECORDS[name])
    made['sealed.answer'] = of_exit.seal(RECORDS['answer'])
    of_client.n = 65535
    made['sealed.65535'] = of_client.seal(RECORDS['empty'])
    made['key.client.rekeyed'] = of_client.key
    made['sealed.65536'] = of_client.seal(RECORDS['empty'])
    return made


class PaperLink:
    """Keeps what is sent, under the name of its link and its sender."""

    def __init__(self, name: str, made: dict):
        self.name, self.made, self.label = name, made, ''

    def send(self, content: bytes):
        self.made[f'{self.name}.{self.label}'] = content
        if self.label.isdigit():
            self.label = str(int(self.label) + 1)


class PaperExit(SessionEnd):
    def handle_frame(self, kind: int, stream: int, payload: bytes):
        if kind == frames.HELLO:
            self.peer_features = int.from_bytes(payload[2:4], 'big')

    def handle_datagram(self, stream: int, payload: bytes):
        pass


class PaperEnds:
    """A client, an exit, and the records that they have made."""

    def __init__(self):
        self.made: dict[str, bytes] = {}
        self.client, self.exit = ClientSession(lambda: None, COUNTING), PaperExit()
        self.exit.features = frames.MAY_WAIT | frames.DATAGRAMS | frames.SERVICES
        self.client.features = self.exit.features | frames.OTHER_RELAYS
        self.client.link, self.exit.link = PaperLink('a.client', self.made), PaperLink('a.exit', self.made)

    def greet(self, end: SessionEnd, *content: bytes) -> bytes:
        return self.say_on(end, '1', frames.hello(features=end.features, max_streams=1024), *content)

    def say_on(self, end: SessionEnd, name: str, *content: bytes) -> bytes:
        return self._written(end, name, lambda: end.send(*content))

    def say_datagrams(self, end: SessionEnd, name: str, *content: bytes) -> bytes:
        return self._written(end, name, lambda: end.send_datagrams(*content))

    def acknowledge(self, end: SessionEnd) -> bytes:
        return self._written(end, 'acknowledgement', end.acknowledge)

    def _written(self, end: SessionEnd, name: str, write) -> bytes:
        end.link.label = name
        write()
        return self.made[f'{end.link.name}.{name}']

    def take(self, end: SessionEnd, record: bytes, when: int):
        session_end.microseconds = lambda: when
        end.take_record(record)


def datagrams() -> dict:
    ends = PaperEnds()
    client, exit_, made, take = ends.client, ends.exit, ends.made, ends.take
    client.expect_stream(7, 0)
    take(exit_, ends.greet(client), 20_000)
    take(client, ends.greet(exit_), 30_000)
    take(exit_, ends.say_on(client, '2', FRAMES['open.udp']), 35_000)
    take(exit_, ends.say_datagrams(client, '3', FRAMES['datagram.ipv4']), 40_000)
    take(client, ends.say_on(exit_, '2', frames.opened(7, 0)), 50_000)
    take(exit_, ends.say_datagrams(client, '4', FRAMES['datagram.ipv4']), 55_000)
    take(exit_, ends.say_on(client, '5', FRAMES['ping']), 60_000)
    take(client, ends.acknowledge(exit_), 65_000)
    assert client.acknowledged == 3 and not client.unacknowledged

    made['b.client.request'] = frames.request(RESUME, COUNTING, client.received)
    made['b.exit.answer'] = frames.answer(0, exit_.received)
    client.move_to(PaperLink('b.client', made), exit_.received)
    exit_.move_to(PaperLink('b.exit', made), client.received)
    take(exit_, ends.say_datagrams(client, '1', FRAMES['datagram.ipv4']), 80_000)
    take(exit_, ends.say_on(client, '2', frame(frames.FINISH, 7)), 90_000)
    take(client, ends.acknowledge(exit_), 100_000)
    assert client.acknowledged == 4 and not client.unacknowledged
    return {f'datagrams.{name}': content for name, content in made.items()}


def resumption() -> dict:
    ends = PaperEnds()
    session, exit_, made, say_on, take = ends.client, ends.exit, ends.made, ends.say_on, ends.take
    stream = session.expect_stream(1, CREDIT)
    made['a.client.request'], made['a.exit.answer'] = frames.request(BEGIN, COUNTING, 0), frames.answer(0)
    take(exit_, ends.greet(session, FRAMES['open.ipv4']), 20_000)
    take(session, ends.greet(exit_, FRAMES['opened']), 30_000)
    take(exit_, say_on(session, '2', FRAMES['data']), 50_000)
    # Both of these are lost.
    say_on(exit_, '2', frame(frames.DATA, 1, b'pong'))
    say_on(session, '3', FRAMES['finish'])

    made['b.client.request'] = frames.request(RESUME, COUNTING, session.received)
    made['b.exit.answer'] = frames.answer(0, exit_.received)
    links = PaperLink('b.client', made), PaperLink('b.exit', made)
    links[0].label, links[1].label = '3', '2'
    session.move_to(links[0], exit_.received)
    exit_.move_to(links[1], session.received)
    take(exit_, made['b.client.3'], 900_000)
    take(session, made['b.exit.2'], 940_000)
    take(session, say_on(exit_, '3', FRAMES['finish']), 950_000)
    ends.acknowledge(session)
    assert stream.received == b'pong' and stream.is_finished
    return {f'resume.{name}': content for name, content in made.items()}


def several_links() -> dict:
    features = frames.MAY_WAIT | frames.SEVERAL_LINKS
    opens = FRAMES['open.ipv4'] + FRAMES['open.name']
    placed, piece = bytes([frames.PLACED]), bytes([frames.PLACED | frames.PIECE])
    place_2, data_2 = frames.placement(2, 1), frame(frames.DATA, 1, b'pi')
    made = {
        'b.client.request': frames.request(frames.JOIN, COUNTING, 0),
        'b.exit.answer': frames.answer(0, 1),
        'b.exit.answer.too-many': frames.answer(frames.NUMBERS['too-many-links']),
        'a.client.1': b'\0' + frames.hello(features=features, max_streams=1024) + opens,
        'b.client.1': placed + place_2 + data_2,
        'a.client.2': placed + frames.placement(3, 1) + frame(frames.DATA, 3, b'three'),
        'a.client.3': placed + frames.placement(4, 1, 2) + frame(frames.DATA, 1, b'ng'),
        'a.client.4': placed + place_2 + data_2,
        'a.exit.acknowledgement': bytes([ACKNOWLEDGES | UNNUMBERED]) + acknowledgement(4, 50_000),
        'piece.1': piece + place_2 + frames.u16(0) + frames.u16(len(data_2)) + data_2[:6],
        'piece.2': piece + place_2 + frames.u16(6) + frames.u16(len(data_2)) + data_2[6:],
        'last': bytes([frames.LEAVING]),
    }
    return {f'links.{name}': content for name, content in made.items()}


def control() -> dict:
    """The order of members is free, so these are compared as JSON."""
    proof = tickets()['rotated.proof'].hex()
    messages = {
        'bearers': {'keys': [to_base64url(client.gate_public)], 'more': False},
        'registered': {},
        'taken': {'keys': 1, 'of': 2},
        'seen': {'address': '203.0.113.9'},
        'instance': {'id': COUNTING.hex()},
        'call': {'token': COUNTING.hex()},
        'call.elsewhere': {'type': 'call', 'token': COUNTING.hex(), 'relay': 'wss://b.example.org'},
        'unreached': {'token': COUNTING.hex()},
        'rotated': {'proof': proof},
        'replaced': {},
        'occupied': {},
        'ping': {},
    }
    return {f'control.{name}.text': {'type': name, **members} for name, members in messages.items()}


def all_vectors() -> dict:
    made = keys() | invites() | tickets() | http() | control() | resumption() | several_links()
    made |= datagrams()
    made |= {f'frame.{name}': value for name, value in FRAMES.items()}
    made |= {f'record.{name}': value for name, value in RECORDS.items()}
    for prefix, suite in (('chachapoly', CHACHAPOLY), ('aesgcm', AES_GCM)):
        made |= {f'{prefix}.{name}': value for name, value in handshake(suite).items()}
    return made


def is_same(value, text: str) -> bool:
    if isinstance(value, dict):
        return json.loads(text) == value
    return text == (value.hex() if isinstance(value, bytes) else str(value))


def what_cannot_be_read(page: dict[str, str]) -> list[str]:
    """Vectors of the page that this peer reads, and that come out otherwise."""
    key, ticket = shared_key(relay, client.gate_public), page['ticket.text']
    etag = f'HTTP/1.1 404 Not Found\r\nETag: W/{page["refusal.etag.text"]}\r\n'
    checks = {
        'ticket.text': open_ticket(key, ticket).hex() == page['ticket.payload'],
        'ticket.nonce': nonce_of(ticket).hex() == page['ticket.nonce'],
        'ticket.audience.text': audience_in(key, page['ticket.audience.text']).hex() == page['audience.default-port'],
        'ticket.page.text': audience_in(key, page['ticket.page.text']) is None,
        'refusal.etag.text': proven_reason(key, ticket, etag) == 'clock-off',
        'invite.client.text': decode_invite(page['invite.client.text']).me.secret == CLIENT_SECRET,
        'invite.exit.text': decode_invite(page['invite.exit.text']).role == EXIT,
        'invite.without-role.text': decode_invite(page['invite.without-role.text']).role is None,
        'invite.pinned.text': decode_invite(page['invite.pinned.text']).pins
        == [bytes.fromhex(page['invite.pinned.pin'])],
    }
    checks |= {f'frame.{name}': holds for name, holds in frames_read(page).items()}
    refused = {name: not is_public_key(bytes.fromhex(key)) for name, key in page.items() if name.startswith('refused')}
    return [name for name, holds in (checks | refused).items() if not holds]


def frames_read(page: dict[str, str]) -> dict[str, bool]:
    def payload(name: str) -> bytes:
        (_kind, _stream, content), = take_frames(bytearray.fromhex(page[f'frame.{name}']))
        return content

    accepted = frames.OpenRequest(65536, frames.ACCEPTED, '192.0.2.7', 49152, 13)
    return {
        'open.udp': frames.read_open(payload('open.udp')) == frames.OpenRequest(0, frames.UDP, '0.0.0.0', 0, None),
        'open.accepted': frames.read_open(payload('open.accepted')) == accepted,
        'opened': frames.read_opened(payload('opened')) == (CREDIT, None),
        'opened.listener': frames.read_opened(payload('opened.listener')) == (0, ('127.0.0.1', 8080)),
        'datagram.ipv4': frames.read_datagram_address(payload('datagram.ipv4')) == (('192.0.2.1', 53), b'ping'),
        'datagram.name': frames.read_datagram_address(payload('datagram.name')) == (('example.org', 53), b'ping'),
    }


with open(sys.argv[1], encoding='utf-8') as file:
    page = read_vectors(file.read())
made = all_vectors()
say(
    'vectors',
    count=len(page),
    wrong=[name for name, value in made.items() if name in page and not is_same(value, page[name])],
    unread=what_cannot_be_read(page),
    onlyOnPage=[name for name in page if name not in made and not name.startswith('refused-key.')],
    onlyHere=[name for name in made if name not in page],
)
