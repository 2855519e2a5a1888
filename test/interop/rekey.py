"""Records beyond the first rekey, in both directions. Arguments: the cipher suite, 1 or 2; time limit in s."""

import sys

import targets
from client_session import ClientSession
from link import Connector, header
from noise import REKEY_RECORDS
from report import invite_of_environment, say

# The least that is no no-op. With no more credit than that each record of the exit has so much DATA, and each answer to
# it CREDIT for as much.
CREDIT = 256
SIZE = (REKEY_RECORDS + 1000) * CREDIT

session = ClientSession(Connector(invite_of_environment(), head=header(suite=int(sys.argv[1])))).begin()
stream = session.open(targets.serve(targets.source), window=CREDIT)
session.write(stream, f'{SIZE}\n'.encode())
session.until(lambda: stream.is_finished, int(sys.argv[2]))
say(
    'rekey',
    same=bytes(stream.received) == targets.pattern(SIZE),
    rekeysOut=session.link.sealer.rekeys,
    rekeysIn=session.link.opener.rekeys,
)
session.close()
