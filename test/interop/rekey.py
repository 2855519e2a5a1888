"""Records beyond the first rekey, in both directions. Argument: the cipher suite, 1 or 2."""

import sys

import targets
from client_session import ClientSession
from link import Connector, header
from report import invite_of_environment, say

RECORDS_AFTER = 100

session = ClientSession(Connector(invite_of_environment(), head=header(suite=int(sys.argv[1])))).begin()
stream, sent = session.open(targets.serve(targets.echo)), bytearray()
sealer, opener = session.link.sealer, session.link.opener


def exchange_byte():
    """One record each way. What has come is acknowledged by the next byte, at once: that is a record less."""
    byte = bytes([len(sent) % 251])
    session.write_some(stream, byte)
    sent.extend(byte)
    while len(stream.received) < len(sent) or not stream.send_credit:
        session.take_record(session.link.receive())


while sealer.rekeys < 1 or opener.rekeys < 1:
    exchange_byte()
for _ in range(RECORDS_AFTER):
    exchange_byte()
say('rekey', same=stream.received == sent, rekeysOut=sealer.rekeys, rekeysIn=opener.rekeys)
session.close()
