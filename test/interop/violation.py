"""A violation of the protocol, and how the other end reacts to it."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from client_session import ClientSession, SessionOver
from report import say
from websocket import LinkEnded, WebSocket

SECONDS_FOR_A_REACTION = 10


@dataclass
class Violation:
    """`act` does what is forbidden. What it returns precedes the reaction, if it returns anything."""

    section: str
    name: str
    promised: str | tuple[str, ...]  # or one of several, where the page leaves it open
    act: Callable | None = None


def full_name(violation: Violation) -> str:
    return f'{violation.section} {violation.name}'


def tell(violation: Violation, seen: str):
    promised = [violation.promised] if isinstance(violation.promised, str) else violation.promised
    say('reaction', name=full_name(violation), promised=promised, seen=seen)


def reaction_of(session: ClientSession) -> str:
    """What has become of session and link: `goes on`, `GO_AWAY` with a code, or how the link ended."""
    token = os.urandom(8)
    session.ping(token)
    end = time.monotonic() + SECONDS_FOR_A_REACTION
    try:
        while token not in session.pongs and not session.over:
            if time.monotonic() > end:
                return 'nothing happens'
            session.receive(0.2)
    except LinkEnded:
        return f'{end_of_link(session.link.ws)}, {can_be_resumed(session)}'
    return f'GO_AWAY {session.go_away}{end_of_session(session)}' if session.over else 'goes on'


def end_of_link(ws: WebSocket) -> str:
    """How the other end ended it (§1.1)."""
    if ws.sock:
        return 'link stays'
    return ws.ended if ws.ended.startswith('closed with') else 'aborted'


def end_of_session(session: ClientSession) -> str:
    """Nothing where it ended as §6 says: the link is closed with 1000, and the session is there no more."""
    session.link.ws.wait_until_ended(2)
    end = end_of_link(session.link.ws)
    if end != 'closed with 1000':
        return f', but {end}'
    resumed = can_be_resumed(session)
    return '' if resumed == 'session-unknown' else f', but {resumed}'


def can_be_resumed(session: ClientSession) -> str:
    try:
        session.resume()
    except SessionOver as over:
        return str(over)
    return 'session goes on'
