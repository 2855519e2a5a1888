"""Everything that a session does on one link. Argument: the cipher suite, 1 or 2."""

import hashlib
import sys

import frames
import targets
from client_session import ClientSession, Stream
from link import Connector, header
from report import invite_of_environment, say

TEN_MB = 10_000_000


def digest(data: bytes) -> str:
    return f'{len(data)} {hashlib.sha256(data).hexdigest()}'


def echo_of(session: ClientSession, text: bytes) -> str:
    stream = session.open(targets.serve(targets.echo))
    session.write(stream, text)
    session.until(lambda: len(stream.received) == len(text))
    return stream.received.decode()


def ping(session: ClientSession, content: bytes) -> str:
    session.ping(content)
    session.until(lambda: session.pongs)
    return session.pongs[0].decode()


def upload(session: ClientSession, data: bytes) -> str:
    """What the target says of it after this end's FINISH: a half-close."""
    stream = session.open(targets.serve(targets.sink))
    session.write(stream, data)
    session.finish(stream)
    session.until(lambda: stream.is_finished)
    return stream.received.decode()


def download(session: ClientSession, size: int) -> str:
    stream = session.open(targets.serve(targets.source))
    session.write(stream, f'{size}\n'.encode())
    session.until(lambda: stream.is_finished)
    session.finish(stream)
    return digest(stream.received)


def reset_by_target(session: ClientSession) -> str:
    stream = session.open(targets.serve(targets.resetting))
    session.write(stream, b'x')
    session.until(lambda: stream.state != 'open')
    return f'{stream.state}: {stream.fault}'


def reset_seen_by_target(session: ClientSession) -> str:
    watcher = targets.Watcher()
    stream = session.open(watcher.port)
    session.until(lambda: stream.received == b'ready')
    session.send(frames.reset(stream.id, 'dial-cancelled'))
    watcher.ended.wait(5)
    return watcher.how


def outcome(stream: Stream) -> str:
    return f'{stream.state}: {stream.fault}'


def closed_port() -> int:
    return 1


def run(session: ClientSession):
    data = targets.pattern(TEN_MB)
    say(
        'basics',
        echo=echo_of(session, b'hello, echo'),
        pong=ping(session, b'12345678'),
        up=upload(session, data) == digest(data),
        down=download(session, TEN_MB) == digest(data),
        resetByTarget=reset_by_target(session),
        resetSeenByTarget=reset_seen_by_target(session),
        refused=outcome(session.open(closed_port())),
        notAllowed=outcome(session.open(80, '192.0.2.1')),
        mayWait=session.seen['may wait'] > 0,
    )
    session.close()
    say('closed', how=session.link.ws.ended)


suite = int(sys.argv[1])
features = frames.MAY_WAIT if suite == 2 else 0
run(ClientSession(Connector(invite_of_environment(), head=header(suite=suite))).begin(features))
