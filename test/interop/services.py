"""What a session carries beside TCP connections (docs/protocol.md §7.1). Arguments: `udp`, `listeners`, `resolver`."""

import socket
import struct
import sys
import time

import frames
import targets
from client_session import ClientSession, Stream, StreamReset
from frames import DATAGRAMS, MAY_WAIT, SERVICES
from link import Connector
from report import invite_of_environment, say

LARGE = 60_000
LINKS = 5
NOBODY = ('192.0.2.1', 9)
SILENCE_SECONDS = 0.5


def take(session: ClientSession, stream: Stream) -> tuple[tuple[str, int] | None, bytes]:
    """The next datagram of the association."""
    session.until(lambda: stream.datagrams or stream.fault)
    if stream.fault:
        raise StreamReset(stream.fault)
    return stream.datagrams.pop(0)


def wait(session: ClientSession, seconds: float):
    try:
        session.until(lambda: False, seconds)
    except TimeoutError:
        pass


def connected(session: ClientSession, echo: targets.UdpEcho) -> bool:
    """The first datagram follows OPEN at once."""
    stream = session.open_service(frames.UDP, *echo.address, wait=False)
    session.send_datagram(stream, b'early')
    contents = [take(session, stream)[1]]
    for content in (bytes(LARGE), b''):
        session.send_datagram(stream, content)
        contents.append(take(session, stream)[1])
    return contents == [b'early', bytes(LARGE), b'']


def to_several(session: ClientSession) -> bool:
    echoes = [targets.UdpEcho(), targets.UdpEcho('127.0.0.2')]
    stream = session.open_service(frames.UDP)
    # What is not allowed is dropped, and does no harm to the rest of its record.
    parts = [frames.datagram(stream.id, b'nobody', NOBODY)]
    parts += [frames.datagram(stream.id, b'echo', echo.address) for echo in echoes]
    session.send_datagrams(*parts)
    return sorted([take(session, stream) for _ in echoes]) == sorted((echo.address, b'echo') for echo in echoes)


def filtered(session: ClientSession, echo: targets.UdpEcho) -> list[str]:
    """Of which of these hosts a datagram comes: of the one to which something was sent, with another port, alone."""
    stream = session.open_service(frames.UDP)
    session.send_datagram(stream, b'here', echo.address)
    take(session, stream)
    for stranger in ('127.0.0.3', '127.0.0.1'):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind((stranger, 0))
            sock.sendto(stranger.encode(), ('127.0.0.1', echo.peer[1]))
    wait(session, SILENCE_SECONDS)
    return [content.decode() for _, content in stream.datagrams]


def over_links(session: ClientSession, echo: targets.UdpEcho) -> dict:
    """The socket at the exit outlives links, and nothing comes twice."""
    stream = session.open_service(frames.UDP, *echo.address)
    ports, seen = set(), []
    for number in range(LINKS):
        session.send_datagram(stream, struct.pack('>I', number))
        seen.append(take(session, stream)[1])
        ports.add(echo.peer[1])
        # Perhaps in the middle of one more, which may be lost.
        session.send_datagram(stream, b'lost?')
        session.link.ws.abort()
        session.resume()
        wait(session, 0.2)
        stream.datagrams = [datagram for datagram in stream.datagrams if datagram[1] != b'lost?']
    return {
        'seen': seen == [struct.pack('>I', number) for number in range(LINKS)],
        'doubled': len(stream.datagrams),
        'ports': len(ports),
    }


def acknowledged(session: ClientSession, echo: targets.UdpEcho) -> bool:
    """Many datagrams and a stream, mixed: all positions come back in acknowledgements."""
    association = session.open_service(frames.UDP, *echo.address)
    stream = session.open(targets.serve(targets.echo))
    for number in range(100):
        session.send_datagram(association, struct.pack('>I', number))
        session.write_some(stream, struct.pack('>I', number))
        session.take_what_has_come()
    session.until(lambda: len(stream.received) == 400 and not session.unacknowledged)
    session.until(lambda: session.datagrams_in_flight == 0 and len(association.datagrams) > 50)
    wait(session, 0.1)
    numbers = [int.from_bytes(content, 'big') for _, content in association.datagrams]
    return numbers == sorted(set(numbers))


def finished(session: ClientSession, echo: targets.UdpEcho) -> str:
    stream = session.open_service(frames.UDP, *echo.address)
    session.finish(stream)
    session.until(lambda: stream.is_finished)
    session.send_datagram(stream, b'late')
    wait(session, 0.1)
    return f'{stream.state}, {len(stream.datagrams)} more'


def outcome(stream: Stream) -> str:
    return f'{stream.state}: {stream.fault}'


def udp(session: ClientSession):
    echo = targets.UdpEcho()
    say(
        'udp',
        connected=connected(session, echo),
        toSeveral=to_several(session),
        filtered=filtered(session, echo),
        refused=outcome(session.open_service(frames.UDP, *NOBODY)),
        acknowledged=acknowledged(session, echo),
        finished=finished(session, echo),
        overLinks=over_links(session, echo),
    )


# The other services


def exchange(session: ClientSession, listener: Stream) -> bool:
    """A connection of a listener, which outlives it."""
    with socket.create_connection(listener.bound, 5) as sock:
        session.until(lambda: listener.accepted)
        stream = listener.accepted.pop()
        same = stream.peer == sock.getsockname()
        sock.sendall(b'question')
        session.until(lambda: stream.received == b'question')
        session.finish(listener)
        session.until(lambda: listener.is_finished)
        session.write(stream, b'answer')
        session.finish(stream)
        answer = sock.makefile('rb').read()
    session.until(lambda: stream.is_finished)
    return same and answer == b'answer'


def refused(session: ClientSession, listener: Stream) -> str:
    """The client refuses what a listener has accepted that it has just given up."""
    listener.sent_finish = True
    with socket.create_connection(listener.bound, 5) as sock:
        end = time.monotonic() + 5
        sock.settimeout(0.05)
        while time.monotonic() < end:
            session.receive(0.05)
            try:
                return f'{len(sock.recv(1))} bytes'
            except TimeoutError:
                continue
            except ConnectionResetError:
                return 'reset'
    return 'nothing'


def udp_listener(session: ClientSession) -> bool:
    listener = session.open_service(frames.UDP_LISTENER, '127.0.0.1')
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(('127.0.0.1', 0))
        sock.settimeout(5)
        sock.sendto(b'question', listener.bound)
        peer, content = take(session, listener)
        session.send_datagram(listener, b'answer', peer)
        answer = sock.recv(100)
        return (peer, content, answer) == (sock.getsockname(), b'question', b'answer')


def query(number: int, name: str, kind: int) -> bytes:
    labels = b''.join(bytes([len(label)]) + label.encode() for label in name.split('.'))
    message = struct.pack('>HHHHHH', number, 0x0100, 1, 0, 0, 0) + labels + b'\0' + struct.pack('>HH', kind, 1)
    return frames.u16(len(message)) + message


def resolved(session: ClientSession) -> dict:
    """Two queries at once; the RCODE of each answer, by its id."""
    stream = session.open_service(frames.RESOLVER)
    session.write(stream, query(1, 'localhost', 1) + query(2, 'localhost', 28))
    answers: dict[str, int] = {}

    def take_answers() -> bool:
        data = stream.received
        while len(data) >= 2 and len(data) >= 2 + (size := int.from_bytes(data[:2], 'big')):
            answers[str(int.from_bytes(data[2:4], 'big'))] = data[5] & 0x0F
            del data[:2 + size]
        return len(answers) == 2

    session.until(take_answers)
    session.finish(stream)
    session.until(lambda: stream.is_finished)
    return answers


def listeners(session: ClientSession):
    listener = session.open_service(frames.TCP_LISTENER, '127.0.0.1')
    in_use = session.open_service(frames.TCP_LISTENER, *listener.bound)
    say(
        'listeners',
        accepted=exchange(session, listener),
        refused=refused(session, session.open_service(frames.TCP_LISTENER, '127.0.0.1')),
        inUse=outcome(in_use),
        udpListener=udp_listener(session),
    )


def resolver(session: ClientSession):
    say('resolver', answers=resolved(session))


session = ClientSession(Connector(invite_of_environment())).begin(MAY_WAIT | DATAGRAMS | SERVICES)
for name in sys.argv[1:]:
    {'udp': udp, 'listeners': listeners, 'resolver': resolver}[name](session)
session.close()
