"""A session that goes on over other links. Argument: the cipher suite, 1 or 2."""

import random
import sys

import targets
from client_session import ClientSession
from link import Connector, header
from report import invite_of_environment, say

SIZE = 10_000_000
LINKS = 20
SEED = 7
# How far this end sends ahead of the echo: less than the exit grants, so that there is always more to send.
LEAD = 1_000_000


def echo_over_aborted_links(session: ClientSession):
    """An echo of SIZE bytes; its link is aborted LINKS times while bytes are under way in both directions."""
    data, at = targets.pattern(SIZE), 0
    aborts = sorted(random.Random(SEED).sample(range(100_000, SIZE - 2 * LEAD), LINKS), reverse=True)
    stream = session.open(targets.serve(targets.echo))
    while not stream.is_finished:
        if at - len(stream.received) < LEAD:
            at += session.write_some(stream, data[at:at + 32768])
        if at == SIZE and not stream.sent_finish:
            session.finish(stream)
        session.receive(0.001)
        if aborts and len(stream.received) > aborts[-1]:
            at += session.write_some(stream, data[at:at + 32768])
            # All may be acknowledged just now, and the exit may grant no more yet: then a moment later.
            if not session.unacknowledged or not len(stream.received) < at < SIZE:
                continue
            aborts.pop()
            session.link.ws.abort()
            session.resume()
    same = bytes(stream.received) == data
    say('echo', same=same, aborted=LINKS - len(aborts), retransmitted=session.seen['retransmitted'] > 0)


def old_link_read_on(session: ClientSession):
    stream = session.open(targets.serve(targets.source), window=1 << 22)
    session.write(stream, f'{SIZE}\n'.encode())
    session.until(lambda: len(stream.received) > 1_000_000)
    came_twice = session.resume_while_reading()
    session.until(lambda: stream.is_finished)
    say('old-link', same=bytes(stream.received) == targets.pattern(SIZE), cameTwice=came_twice > 0)


connect = Connector(invite_of_environment(), head=header(suite=int(sys.argv[1])))
for scenario in (echo_over_aborted_links, old_link_read_on):
    session = ClientSession(connect).begin()
    scenario(session)
    session.close()
