"""A named exit in one thread (docs/protocol.md §11, §10)."""

import json
import select
import time
from collections.abc import Callable

import frames
from exit_session import ExitSession
from frames import BEGIN, NUMBERS
from invites import CLIENT, Invite, encode_invite
from keys import Identity, to_base64url
from link import SecureLink, connect_patiently, secure_as_exit
from tickets import ROLE_EXIT, Ticket, audience_of, seal_ticket, shared_key
from websocket import LinkEnded, Refused, WebSocket

PING_SECONDS = 15


class NamedExit:
    """`make_session` is given the session public key of the client."""

    def __init__(self, invite: Invite, clients: list[Identity], make_session: Callable[[bytes], ExitSession]):
        self.invite, self.clients, self.make_session = invite, clients, make_session
        self.key = shared_key(invite.me, invite.relay_gate_key)
        self.sessions: dict[tuple[bytes, bytes], ExitSession] = {}
        self.control = self._connect()
        self._next_ping = 0.0

    def invite_for(self, client: Identity) -> str:
        exit_key, name = self.invite.me.session_public, self.invite.exit_name
        return encode_invite(Invite(self.invite.url, self.invite.relay_gate_key, exit_key, client, name, CLIENT))

    def _connect(self, token: str = '') -> WebSocket:
        """A control link, or the data link that answers the call of that token."""
        ticket = Ticket(ROLE_EXIT, token.encode(), audience=audience_of(self.invite.url))
        return connect_patiently(self.invite.url, lambda: seal_ticket(self.key, ticket))

    def say(self, **message):
        self.control.send(json.dumps(message).encode())

    def register(self):
        self.say(type='bearers', keys=[to_base64url(client.gate_public) for client in self.clients], more=False)
        message = json.loads(self.control.receive())
        assert message == {'type': 'registered'}, message

    def serve(self):
        """Until the control link ends."""
        while self.control.sock is not None:
            self.serve_once()

    def serve_once(self):
        self._wait()
        self._take_control_messages()
        for session in list(self.sessions.values()):
            session.step()
        self.sessions = {key: session for key, session in self.sessions.items() if not session.over}

    def _wait(self):
        sessions = self.sessions.values()
        readers = [self.control.sock] + [sock for session in sessions for sock in session.readers()]
        writers = [sock for session in sessions for sock in session.writers()]
        select.select([sock for sock in readers if sock], [sock for sock in writers if sock], [], 0.2)

    def _take_control_messages(self):
        if time.monotonic() > self._next_ping:
            self._next_ping = time.monotonic() + PING_SECONDS
            self.say(type='ping')
        self.control.step(0)
        while self.control.messages:
            message = json.loads(self.control.receive(0))
            if message['type'] == 'call':
                self.answer_call(message['token'])

    def answer_call(self, token: str):
        ws = self._connect(token)
        try:
            link = secure_as_exit(ws, self.invite.me, [client.session_public for client in self.clients])
            self.admit(link)
        except (LinkEnded, TimeoutError, Refused):
            ws.abort()

    def admit(self, link: SecureLink):
        request = link.receive(10)
        if not frames.is_request(request):
            raise LinkEnded('no request')
        kind, session_id, received = frames.read_request(request)
        key = (link.peer_key, session_id)
        session = self.sessions.get(key)
        if kind == BEGIN:
            return self.refuse(link, 'session-gap') if session else self.begin(link, key)
        if session is None:
            return self.refuse(link, 'session-unknown')
        session.lose_link()
        if not session.acknowledged <= received <= session.sent:
            return self.refuse(link, 'session-gap')
        link.send(frames.answer(0, session.received))
        session.move_to(link, received)

    def begin(self, link: SecureLink, key: tuple[bytes, bytes]):
        link.send(frames.answer(0))
        self.sessions[key] = self.make_session(link.peer_key)
        self.sessions[key].start(link)

    def refuse(self, link: SecureLink, code: str):
        link.send(frames.answer(NUMBERS[code]))
        link.ws.flush()
        link.ws.close()
