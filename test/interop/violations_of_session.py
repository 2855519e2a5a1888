"""A client that breaks the rules of records, frames, streams and credit (docs/protocol.md §1.3, §3 to §9)."""

import socket

import frames
import targets
from client_session import ClientSession, Stream
from frames import (
    ACKNOWLEDGEMENT_MAY_WAIT, ACKNOWLEDGES, CREDIT, DATA, DATAGRAM, FINISH, GO_AWAY, HELLO, IPV6, MAX_DATA_BYTES, NAME,
    OPENED, OPEN_FAILED, PING, PONG, RESET, UNNUMBERED, acknowledgement, frame, frame_header, open_raw, u16, u32, u48,
)  # fmt: skip
from link import Connector
from report import invite_of_environment
from violation import Violation, reaction_of, tell
from websocket import BINARY, CONTINUATION, TEXT, LinkEnded

LARGEST_CONTENT = 65519
TAG_BYTES = 16
# What section 13 lets everyone send at once, and more.
NO_OPS, PINGS = 1000, 200
NO_OP_FLOOD, PING_FLOOD = NO_OPS + 200, PINGS + 100
# The exit asks once at the beginning, and reaction_of asks: that is a PONG and a PING of this end.
MORE_PINGS = PINGS - 2
ECHO, SOURCE, SINK, RESETTING, DEAF = (
    targets.serve(handle) for handle in (targets.echo, targets.source, targets.sink, targets.resetting, targets.deaf)
)
connect = Connector(invite_of_environment())


def bare() -> ClientSession:
    """A session that has said no HELLO."""
    session = ClientSession(connect)
    session.join(frames.BEGIN, 0)
    return session


def ended_with(status: int) -> tuple[str, str]:
    """The status may not arrive (§12)."""
    return f'closed with {status}, session goes on', 'aborted, session goes on'


# What a row does, as a function of the session


def sends(*content: bytes):
    """These frames in one numbered record."""
    return lambda session: session.send(*content)


def says(content: bytes):
    """This as the content of a record that is not counted."""
    return lambda session: session.link.send(content)


def on_stream(make, port: int = ECHO):
    """Frames that `make` makes for a stream that is open."""
    return lambda session: session.send(*make(session.open(port)))


def with_open(*content: bytes):
    """An OPEN and these frames right behind it: nobody can have answered yet."""

    def act(session: ClientSession):
        session.expect_stream(1)
        session.send(open_raw(1, port=ECHO), *content)

    return act


def repeated(act, count: int):
    def act_often(session: ClientSession):
        for _ in range(count):
            act(session)

    return act_often


# Records


def numbered_by_hand(flags: int):
    def act(session: ClientSession):
        session.count_by_hand()
        session.link.send(bytes([flags]))

    return act


def acknowledge_less(session: ClientSession):
    stream = session.open(ECHO)
    session.write(stream, b'abc')
    session.until(lambda: len(stream.received) == 3)
    session.link.send(bytes([ACKNOWLEDGES | UNNUMBERED]) + acknowledgement(1, 0))


def unverifiable_record(session: ClientSession):
    record = bytearray(session.link.sealer.seal(bytes([UNNUMBERED])))
    record[0] ^= 1
    session.link.ws.send(bytes(record))


def record_twice(session: ClientSession):
    record = session.link.sealer.seal(bytes([UNNUMBERED]))
    session.link.ws.send(record)
    session.link.ws.send(record)


def records_swapped(session: ClientSession):
    first, second = (session.link.sealer.seal(bytes([UNNUMBERED])) for _ in range(2))
    session.link.ws.send(second)
    session.link.ws.send(first)


def largest_content(session: ClientSession):
    session.until(lambda: session.peer_features is not None)
    session.send_datagrams(frame(0x83, 0, bytes(LARGEST_CONTENT - 9)))


def message(payload: bytes, **options):
    return lambda session: session.link.ws.send(payload, **options)


def sealed_message(**options):
    return lambda session: session.link.ws.send(session.link.sealer.seal(bytes([UNNUMBERED])), **options)


def in_fragments(count: int):
    """A record of so many bytes, each a fragment of its own."""

    def act(session: ClientSession):
        session.count_by_hand()
        record = session.link.sealer.seal(b'\0' + frame(0x83, 0, bytes(count - TAG_BYTES - 9)))
        for at in range(count):
            opcode = BINARY if at == 0 else CONTINUATION
            session.link.ws.send(record[at:at + 1], opcode, final=at == count - 1)

    return act


def single_bytes(session: ClientSession):
    session.expect_stream(1)
    for byte in open_raw(1, port=ECHO) + frame(0x80, 0, b'xyz'):
        session.send(bytes([byte]))


ACKNOWLEDGE_NOTHING = bytes([ACKNOWLEDGES | UNNUMBERED]) + acknowledgement(0, 0)
RECORDS = [
    Violation('§2.4', 'a record without content', 'GO_AWAY bad-record', says(b'')),
    Violation('§3.1', 'a record with flag 08', 'GO_AWAY bad-record', numbered_by_hand(0x08)),
    Violation('§3.1', 'a record with flag 80', 'GO_AWAY bad-record', numbered_by_hand(0x80)),
    Violation('§3.1', 'a number of an acknowledgement that is cut', 'GO_AWAY bad-record', says(b'\x03' + bytes(5))),
    Violation('§3.1', 'a time of an acknowledgement that is cut', 'GO_AWAY bad-record', says(b'\x03' + bytes(9))),
    Violation('§10', 'more acknowledged than was sent', 'GO_AWAY bad-record', says(b'\x03' + u48(1000) + bytes(4))),
    Violation('§3.1', 'less acknowledged than before', 'goes on', acknowledge_less),
    Violation('§13', 'as many no-op records as everyone may send', 'goes on', repeated(sends(), NO_OPS)),
    Violation('§3.1', 'an unnumbered record with nothing in it', 'goes on', says(bytes([UNNUMBERED]))),
    Violation('§3.1', 'flag 04 with flag 02', 'goes on', says(bytes([UNNUMBERED | ACKNOWLEDGEMENT_MAY_WAIT]))),
    Violation('§9', 'a flood of numbered records without frames', 'GO_AWAY peer-flood', repeated(sends(), NO_OP_FLOOD)),
    Violation('§9', 'a flood of acknowledgements of nothing', 'GO_AWAY peer-flood',
              repeated(says(ACKNOWLEDGE_NOTHING), NO_OP_FLOOD)),
    Violation('§3', 'the largest content', 'goes on', largest_content),
    Violation('§1.3', 'a message of 65,536 bytes', ended_with(1009), message(bytes(65536))),
    Violation('§2.4', 'a record that does not verify', 'aborted, session goes on', unverifiable_record),
    Violation('§2.4', 'a message shorter than a tag', 'aborted, session goes on', message(b'123')),
    Violation('§2.4', 'a record that is sent twice', 'aborted, session goes on', record_twice),
    Violation('§2.4', 'two records in the wrong order', 'aborted, session goes on', records_swapped),
    Violation('§12', 'a text message', 'aborted, session goes on', message(b'hello', opcode=TEXT)),
    Violation('§1.3', 'a message without a mask', ended_with(1002), sealed_message(masked=False)),
    Violation('§1.3', 'a message with a reserved bit', ended_with(1002), sealed_message(reserved=4)),
    Violation('§1.3', 'a message in 525 fragments', 'goes on', in_fragments(525)),
    Violation('§1.3', 'a message in 1,025 fragments', ended_with(1008), in_fragments(1025)),
    Violation('§3.2', 'the frame stream cut into single bytes', 'goes on', single_bytes),
    Violation('§1.3', 'a WebSocket that is closed without GO_AWAY', 'closed with 1000, session goes on',
              lambda session: session.link.ws.close()),
]  # fmt: skip

# HELLO

HELLOS = [
    Violation('§6', 'OPEN before HELLO', 'GO_AWAY bad-frame', sends(open_raw(1))),
    Violation('§6', 'an unknown frame before HELLO', 'GO_AWAY bad-frame', sends(frame(0x80, 0))),
    Violation('§6', 'a second HELLO', 'GO_AWAY bad-frame', sends(frames.hello(), frames.hello())),
    Violation('§6', 'HELLO of version 2', 'GO_AWAY bad-version', sends(frames.hello(version=2))),
    Violation('§6', 'HELLO of version 0', 'GO_AWAY bad-version', sends(frames.hello(version=0))),
    Violation('§6', 'HELLO with unknown features', 'goes on', sends(frames.hello(features=0xFFFE))),
    Violation('§4', 'HELLO of 7 bytes', 'GO_AWAY bad-frame', sends(frame(HELLO, 0, bytes(7)))),
    Violation('§4', 'HELLO of 1,024 bytes', 'goes on', sends(frames.hello(rest=bytes(1016)))),
    Violation('§4', 'HELLO of 1,025 bytes', 'GO_AWAY bad-frame', sends(frames.hello(rest=bytes(1017)))),
    Violation('§4', 'HELLO with a stream', 'GO_AWAY bad-frame', sends(frame(HELLO, 1, bytes(8)))),
]

# Frames

FRAMES = [
    Violation('§4', 'a frame of type 0x0b', 'GO_AWAY bad-frame', sends(frame(0x0B, 0))),
    Violation('§4', 'a frame of type 0x7f', 'GO_AWAY bad-frame', sends(frame(0x7F, 1))),
    Violation('§4', 'a frame of type 0x80', 'goes on', sends(frame(0x80, 2**31 - 1, b'abc'))),
    Violation('§4', 'a frame of type 0xff', 'goes on', sends(frame(0xFF, 5, bytes(65000)))),
    Violation('§4', 'a frame of type 0x80 with stream 2^31', 'GO_AWAY bad-frame', sends(frame(0x80, 2**31))),
    Violation('§4', 'the header of type 0x80 with 65,512 bytes', 'GO_AWAY bad-frame',
              sends(frame_header(0x80, 0, MAX_DATA_BYTES + 1))),
    Violation('§4', 'the header of DATA with 65,512 bytes', 'GO_AWAY bad-frame',
              on_stream(lambda stream: [frame_header(DATA, stream.id, MAX_DATA_BYTES + 1)])),
    Violation('§4', 'DATA without a stream', 'GO_AWAY bad-frame', sends(frame(DATA, 0, b'x'))),
    Violation('§4', 'OPEN with stream 2^31 + 1', 'GO_AWAY bad-frame', sends(open_raw(2**31 + 1))),
    Violation('§4', 'DATA with stream 2^31 + 1', 'GO_AWAY bad-frame', sends(frame(DATA, 2**31 + 1, b'x'))),
    Violation('§4', 'PING with a stream', 'GO_AWAY bad-frame', sends(frame(PING, 1, bytes(8)))),
    Violation('§4', 'PING of 7 bytes', 'GO_AWAY bad-frame', sends(frame(PING, 0, bytes(7)))),
    Violation('§4', 'PONG of 9 bytes', 'GO_AWAY bad-frame', sends(frame(PONG, 0, bytes(9)))),
    Violation('§13', 'as many PINGs as everyone may send', 'goes on', 
              sends(*[frame(PING, 0, bytes(8))] * MORE_PINGS)),
    Violation('§9', 'a flood of PINGs', 'GO_AWAY peer-flood', sends(*[frame(PING, 0, bytes(8))] * PING_FLOOD)),
    Violation('§9', 'a flood of unknown frames', 'GO_AWAY peer-flood', sends(*[frame(0x90, 0)] * NO_OP_FLOOD)),
    Violation('§4', 'RESET of 3 bytes', 'GO_AWAY bad-frame', on_stream(lambda s: [frame(RESET, s.id, bytes(3))])),
    Violation('§5', 'RESET with an unknown code', 'goes on', on_stream(lambda s: [frame(RESET, s.id, u16(9999))])),
    Violation('§4', 'FINISH with a byte', 'GO_AWAY bad-frame', on_stream(lambda s: [frame(FINISH, s.id, b'x')])),
    Violation('§4', 'CREDIT of 5 bytes', 'GO_AWAY bad-frame', on_stream(lambda s: [frame(CREDIT, s.id, bytes(5))])),
    Violation('§4', 'GO_AWAY of 5 bytes', 'GO_AWAY bad-frame', sends(frame(GO_AWAY, 0, bytes(5)))),
    Violation('§4', 'GO_AWAY with a stream', 'GO_AWAY bad-frame', sends(frame(GO_AWAY, 1, bytes(6)))),
    Violation('§4', 'OPENED of 3 bytes', 'GO_AWAY bad-frame', on_stream(lambda s: [frame(OPENED, s.id, bytes(3))])),
]  # fmt: skip

# OPEN


def answer_to(content: bytes):
    """OPEN for stream 1; the answer to it comes before the reaction."""

    def act(session: ClientSession) -> str:
        stream = session.expect_stream(1)
        session.send(content)
        session.until(lambda: stream.state != 'opening')
        return f'{stream.state} {stream.fault or ""}'.strip()

    return act


def lower_id(session: ClientSession):
    stream = session.expect_stream(9)
    session.send(open_raw(9, port=ECHO))
    session.until(lambda: stream.state == 'open')
    session.send(open_raw(7, port=ECHO))


def too_many_streams(session: ClientSession) -> str:
    """Their target accepts nothing, but the kernel does."""
    session.until(lambda: session.peer_features is not None)
    with socket.create_server(('127.0.0.1', 0), backlog=4096) as server:
        streams = []
        for _ in range(session.peer_max_streams + 20):
            streams.append(session.expect_stream(session.next_id))
            session.send(open_raw(streams[-1].id, port=server.getsockname()[1]))
            session.take_what_has_come()
        session.until(lambda: all(stream.state != 'opening' for stream in streams))
    faults = [stream.fault for stream in streams if stream.state != 'open']
    return f'{len(faults)} failed {"".join(set(faults))}'


OPENS = [
    Violation('§4', 'OPEN without a host', 'GO_AWAY bad-frame', sends(open_raw(1, host=b''))),
    Violation('§4', 'OPEN of 264 bytes', 'GO_AWAY bad-frame', sends(open_raw(1, kind=NAME, host=b'a' * 256))),
    Violation('§4', 'OPEN of service 7', 'failed dial-bad-target, goes on', answer_to(open_raw(1, service=7))),
    Violation('§4', 'OPEN of service 0', 'failed dial-bad-target, goes on', answer_to(open_raw(1, service=0))),
    Violation('§4', 'OPEN of kind 2', 'failed dial-bad-target, goes on', answer_to(open_raw(1, kind=2))),
    Violation('§4', 'OPEN of an IPv4 address of 5 bytes', 'failed dial-bad-target, goes on',
              answer_to(open_raw(1, host=bytes(5)))),
    Violation('§4', 'OPEN of an IPv6 address of 4 bytes', 'failed dial-bad-target, goes on',
              answer_to(open_raw(1, kind=IPV6))),
    Violation('§4', 'OPEN of port 0', 'failed dial-bad-target, goes on', answer_to(open_raw(1, port=0))),
    Violation('§4', 'OPEN of a name with a zero', 'failed dial-bad-target, goes on',
              answer_to(open_raw(1, kind=NAME, host=b'a\0b.example'))),
    Violation('§8', 'OPEN with credit 2^31', 'GO_AWAY credit-overflow', sends(open_raw(1, credit=2**31))),
    Violation('§8', 'OPEN with credit 2^31 - 1', 'open, goes on', answer_to(open_raw(1, 2**31 - 1, port=ECHO))),
    Violation('§8', 'OPEN with credit 0', 'open, goes on', answer_to(open_raw(1, 0, port=ECHO))),
    Violation('§7', 'OPEN with an even id', 'GO_AWAY bad-stream-id', sends(open_raw(2))),
    Violation('§7', 'OPEN with an id again', 'GO_AWAY bad-stream-id', on_stream(lambda s: [open_raw(s.id)])),
    Violation('§7', 'OPEN with an id below the highest', 'GO_AWAY bad-stream-id', lower_id),
    Violation('§9', '20 streams more than the exit holds', '20 failed dial-busy, goes on', too_many_streams),
]  # fmt: skip

# States of a stream


def reset_by_exit(more: int):
    """DATA for a stream that the exit has reset: what its credit allows, and more."""

    def act(session: ClientSession):
        stream = session.open(RESETTING)
        session.write(stream, b'x')
        session.until(lambda: stream.state == 'reset')
        send_data(session, stream, stream.send_credit + more)

    return act


def send_data(session: ClientSession, stream: Stream, size: int):
    for at in range(0, size, 60000):
        session.send(frame(DATA, stream.id, bytes(min(60000, size - at))))


def after_both_finishes(content: bytes):
    def act(session: ClientSession):
        stream = session.open(ECHO)
        session.finish(stream)
        session.until(lambda: stream.is_finished)
        session.send(frame(DATA, stream.id, content))

    return act


def after_failure(make):
    """Frames for a stream whose dial was refused."""
    return on_stream(make, port=1)


def reset_and(make):
    return on_stream(lambda stream: [frames.reset(stream.id, 'dial-cancelled'), *make(stream.id)])


STATES = [
    Violation('§7', 'DATA before OPENED', 'GO_AWAY wrong-state', with_open(frame(DATA, 1, b'x'))),
    Violation('§7', 'CREDIT before OPENED', 'GO_AWAY wrong-state', with_open(frames.credit(1, 300))),
    Violation('§7', 'FINISH before OPENED', 'GO_AWAY wrong-state', with_open(frame(FINISH, 1))),
    Violation('§7', 'RESET before OPENED', 'goes on', with_open(frames.reset(1, 'dial-cancelled'))),
    Violation('§7', 'DATA after FINISH', 'GO_AWAY wrong-state',
              on_stream(lambda s: [frame(FINISH, s.id), frame(DATA, s.id, b'x')], SOURCE)),
    Violation('§7', 'a second FINISH', 'GO_AWAY wrong-state', on_stream(lambda s: [frame(FINISH, s.id)] * 2, SOURCE)),
    Violation('§7', 'OPENED for its own stream', 'GO_AWAY wrong-state',
              on_stream(lambda s: [frame(OPENED, s.id, u32(5))])),
    Violation('§7', 'OPEN_FAILED for its own stream', 'GO_AWAY wrong-state',
              on_stream(lambda s: [frame(OPEN_FAILED, s.id, u16(32))])),
    Violation('§7', 'DATA for an id above all', 'GO_AWAY bad-stream-id', sends(frame(DATA, 5, b'x'))),
    Violation('§7', 'DATA for an id of the exit', 'GO_AWAY bad-stream-id', sends(frame(DATA, 4, b'x'))),
    Violation('§7', 'RESET for an id above all', 'GO_AWAY bad-stream-id', sends(frames.reset(5, 'dial-cancelled'))),
    Violation('§7', 'DATA within the credit of a stream that the exit reset', 'goes on', reset_by_exit(0)),
    Violation('§7', 'DATA beyond the credit of a stream that the exit reset', 'GO_AWAY window-exceeded',
              reset_by_exit(1)),
    Violation('§7', 'DATA after its own RESET', 'GO_AWAY window-exceeded', reset_and(lambda n: [frame(DATA, n, b'x')])),
    Violation('§7', 'DATA after both FINISHes', 'GO_AWAY window-exceeded', after_both_finishes(b'x')),
    Violation('§7', 'empty DATA after both FINISHes', 'goes on', after_both_finishes(b'')),
    Violation('§7', 'RESET for a closed stream', 'goes on', reset_and(lambda n: [frames.reset(n, 'dial-cancelled')])),
    Violation('§7', 'FINISH for a closed stream', 'goes on', reset_and(lambda n: [frame(FINISH, n)])),
    Violation('§7', 'CREDIT for a closed stream', 'goes on', reset_and(lambda n: [frames.credit(n, 300)])),
    Violation('§8', 'CREDIT of 0 for a closed stream', 'GO_AWAY credit-overflow',
              reset_and(lambda n: [frames.credit(n, 0)])),
    Violation('§8', 'CREDIT of 2^31 for a closed stream', 'GO_AWAY credit-overflow',
              reset_and(lambda n: [frames.credit(n, 2**31)])),
    Violation('§7', 'DATA for a stream that failed', 'GO_AWAY window-exceeded',
              after_failure(lambda s: [frame(DATA, s.id, b'x')])),
    Violation('§7', 'RESET for a stream that failed', 'goes on',
              after_failure(lambda s: [frames.reset(s.id, 'dial-cancelled')])),
    Violation('§7', 'FINISH for an id that was skipped', 'goes on',
              lambda session: (session.expect_stream(9), session.send(open_raw(9, port=ECHO), frame(FINISH, 3)))[1]),
]  # fmt: skip

# Credit


def use_up(session: ClientSession) -> Stream:
    """A stream whose target reads nothing, when no more credit comes."""
    stream = session.open(DEAF)
    while True:
        session.write_some(stream, bytes(60000))
        if stream.send_credit == 0:
            answered = len(session.pongs)
            session.ping(bytes(8))
            session.until(lambda: len(session.pongs) > answered)
            try:
                session.until(lambda: stream.send_credit, 0.6)
            except TimeoutError:
                return stream


CREDITS = [
    Violation('§8', 'CREDIT of 0', 'GO_AWAY credit-overflow', on_stream(lambda s: [frames.credit(s.id, 0)])),
    Violation('§8', 'CREDIT of 2^31', 'GO_AWAY credit-overflow', on_stream(lambda s: [frames.credit(s.id, 2**31)])),
    Violation('§8', 'CREDIT to more than 2^31 - 1', 'GO_AWAY credit-overflow',
              on_stream(lambda s: [frames.credit(s.id, 2**31 - 1)])),
    Violation('§8', 'empty DATA without credit', 'goes on',
              lambda session: session.send(frame(DATA, use_up(session).id))),
    Violation('§8', 'the header of DATA of a byte without credit', 'GO_AWAY window-exceeded',
              lambda session: session.send(frame_header(DATA, use_up(session).id, 1))),
    Violation('§9', '20 CREDITs of a byte', 'goes on', on_stream(lambda s: [frames.credit(s.id, 1)] * 20)),
    Violation('§9', 'a flood of CREDITs of a byte', 'GO_AWAY peer-flood',
              on_stream(lambda s: [frames.credit(s.id, 1)] * NO_OP_FLOOD)),
    Violation('§9', 'a flood of empty DATA', 'GO_AWAY peer-flood',
              on_stream(lambda s: [frame(DATA, s.id)] * NO_OP_FLOOD)),
]  # fmt: skip

# Services: the client has offered what they need, unless a row says otherwise


def in_datagrams(*content: bytes):
    """These frames in a record with flag 02, after the HELLO of the exit."""

    def act(session: ClientSession):
        session.until(lambda: session.peer_features is not None)
        session.send_datagrams(*content)

    return act


def associated(make, port: int = 0):
    """Frames that `make` makes for an association, in a record with flag 02."""

    def act(session: ClientSession):
        stream = session.open_service(frames.UDP, '127.0.0.1', port)
        session.send_datagrams(*make(stream.id))

    return act


def on_association(make):
    """The same in a numbered record."""

    def act(session: ClientSession):
        session.send(*make(session.open_service(frames.UDP).id))

    return act


def with_flags(flags: int):
    return says(bytes([UNNUMBERED | flags]) + frame(DATAGRAM, 1))


def to_tcp(session: ClientSession):
    session.send_datagrams(frames.datagram(session.open(ECHO).id, b'x'))


def after_finish(session: ClientSession):
    stream = session.open_service(frames.UDP)
    session.finish(stream)
    session.send_datagram(stream, b'x', ('127.0.0.1', 9))


TO_NOWHERE = frame(DATAGRAM, 99, b'x')
SERVICES = [
    Violation('§7.1', 'a cut header in a record with flag 02', 'GO_AWAY bad-record', in_datagrams(TO_NOWHERE[:7])),
    Violation('§7.1', 'a cut DATAGRAM', 'GO_AWAY bad-record', in_datagrams(TO_NOWHERE, TO_NOWHERE[:8])),
    Violation('§7.1', 'PING in a record with flag 02', 'GO_AWAY bad-record', in_datagrams(frame(PING, 0, bytes(8)))),
    Violation('§7.1', 'type 0x7f in a record with flag 02', 'GO_AWAY bad-record', in_datagrams(frame(0x7F, 0))),
    Violation('§7.1', 'type 0x83 in a record with flag 02', 'goes on', in_datagrams(frame(0x83, 0), TO_NOWHERE)),
    Violation('§7.1', 'DATAGRAM without a stream', 'GO_AWAY bad-record', in_datagrams(frame(DATAGRAM, 0, b'x'))),
    Violation('§7.1', 'DATAGRAM with stream 2^31', 'GO_AWAY bad-record', in_datagrams(frame(DATAGRAM, 2**31))),
    Violation('§7.1', 'DATAGRAM of 65,500 bytes', 'goes on', in_datagrams(frame(DATAGRAM, 99, bytes(65500)))),
    Violation('§7.1', 'DATAGRAM of 65,501 bytes', 'GO_AWAY bad-record',
              in_datagrams(frame(DATAGRAM, 99, bytes(65501)))),
    Violation('§3.1', 'flag 08 with flag 02', 'GO_AWAY bad-record', with_flags(0x08)),
    Violation('§3.1', 'flag 10 with flag 02', 'GO_AWAY bad-record', with_flags(0x10)),
    Violation('§3.1', 'flag 20 with flag 02', 'GO_AWAY bad-record', with_flags(0x20)),
    Violation('§7.1', 'a datagram of a stream that is unknown', 'goes on', in_datagrams(TO_NOWHERE)),
    Violation('§7.1', 'a datagram of a TCP connection', 'goes on', to_tcp),
    Violation('§7.1', 'a datagram of an association that is closed', 'goes on', after_finish),
    Violation('§7.1', 'a datagram with a cut address', 'goes on',
              associated(lambda n: [frame(DATAGRAM, n, b'\1\0\1')])),
    Violation('§7.1', 'a datagram with an address of kind 2', 'goes on',
              associated(lambda n: [frame(DATAGRAM, n, b'\2\0\1abcd')])),
    Violation('§7.1', 'a datagram to a port 0', 'goes on',
              associated(lambda n: [frames.datagram(n, b'x', ('127.0.0.1', 0))])),
    Violation('§7.1', 'a datagram to a name with a zero', 'goes on',
              associated(lambda n: [frames.datagram(n, b'x', ('a\0b.example', 9))])),
    Violation('§7.1', 'a datagram to where nothing listens', 'goes on',
              associated(lambda n: [frames.datagram(n, b'x')] * 3, port=1)),
    Violation('§7.1', '5,000 datagrams that are dropped', 'goes on', repeated(in_datagrams(TO_NOWHERE), 5000)),
    Violation('§4', 'DATAGRAM in a numbered record', 'goes on', on_association(lambda n: [frame(DATAGRAM, n, b'x')])),
    Violation('§7.1', 'DATA for an association', 'GO_AWAY window-exceeded',
              on_association(lambda n: [frame(DATA, n, b'x')])),
    Violation('§7.1', 'empty DATA for an association', 'goes on', on_association(lambda n: [frame(DATA, n)])),
    Violation('§7.1', 'CREDIT for an association', 'goes on', on_association(lambda n: [frames.credit(n, 300)])),
    Violation('§7', 'a second FINISH of an association', 'GO_AWAY wrong-state',
              on_association(lambda n: [frame(FINISH, n)] * 2)),
    Violation('§7.1', 'OPEN of service 6 by a client', 'failed dial-bad-target, goes on',
              answer_to(frames.accepted_frame(1, 1, ('127.0.0.1', 80), 0))),
    Violation('§7.1', 'OPEN of service 2 to a port', 'open, goes on', answer_to(open_raw(1, 0, frames.UDP, port=9))),
    Violation('§7.1', 'OPEN of service 2 with credit', 'open, goes on', answer_to(open_raw(1, 9, frames.UDP, port=9))),
    Violation('§7.1', 'OPEN of service 2 to what is not allowed', 'failed dial-not-allowed, goes on',
              answer_to(open_raw(1, 0, frames.UDP, port=9, host=b'\xc0\0\2\1'))),
    Violation('§7.1', 'OPEN of service 4 where it may not listen', 'failed listen-not-allowed, goes on',
              answer_to(open_raw(1, 0, frames.TCP_LISTENER, port=0, host=bytes(4)))),
    Violation('§7.1', 'OPEN of service 5 where it may not listen', 'failed listen-not-allowed, goes on',
              answer_to(open_raw(1, 0, frames.UDP_LISTENER, port=0, host=bytes(4)))),
]  # fmt: skip
WITHOUT_OFFER = [
    Violation('§7.1', f'OPEN of service {service} by a client that has not offered what it needs',
              'failed dial-bad-target, goes on', answer_to(open_raw(1, 0, service, port=0)))
    for service in (frames.UDP, frames.TCP_LISTENER, frames.UDP_LISTENER)
]  # fmt: skip

# The end


def ends_with(code: int):
    def act(session: ClientSession):
        session.send(frames.go_away(code))
        session.link.ws.close()

    return act


GO_AWAYS = [
    Violation('§6', 'GO_AWAY session-closed', 'closed with 1000, session-unknown', ends_with(24)),
    Violation('§5', 'GO_AWAY with an unknown code', 'closed with 1000, session-unknown', ends_with(7777)),
    Violation('§5', 'GO_AWAY with the code of a stream', 'closed with 1000, session-unknown', ends_with(32)),
]


def observe(violation: Violation, session: ClientSession):
    try:
        note = violation.act(session)
    except LinkEnded:
        note = None
    reaction = reaction_of(session)
    tell(violation, f'{note}, {reaction}' if note else reaction)
    if session.link.ws.sock:
        session.close()


for row in HELLOS:
    observe(row, bare())
for row in [*RECORDS, *FRAMES, *OPENS, *STATES, *CREDITS, *GO_AWAYS, *WITHOUT_OFFER]:
    observe(row, ClientSession(connect).begin())
for row in SERVICES:
    observe(row, ClientSession(connect).begin(frames.DATAGRAMS | frames.SERVICES))
