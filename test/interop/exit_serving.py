"""A named exit that serves a client until it is killed.

Argument: after how many records it aborts a link; 0 for never.
"""

import os
import sys

from exit_session import ExitSession
from keys import Identity
from named_exit import NamedExit
from report import invite_of_environment, say
from session_end import PeerBrokeRules

records_of_a_link = int(sys.argv[1])


class AbortingSession(ExitSession):
    """Aborts its link again and again, in the middle of whatever comes and goes."""

    def __init__(self):
        super().__init__()
        self.records = 0

    def take_record(self, content: bytes):
        super().take_record(content)
        self.count_record()

    def send(self, *content: bytes):
        super().send(*content)
        self.count_record()

    def count_record(self):
        self.records += 1
        if records_of_a_link and self.records % records_of_a_link == 0 and self.link:
            self.lose_link()
            say('aborted', links=self.link_losses)


exit_ = NamedExit(invite_of_environment(), [Identity(os.urandom(32))], lambda _: AbortingSession())
exit_.register()
say('ready', clients=[{'invite': exit_.invite_for(client)} for client in exit_.clients])
try:
    exit_.serve()
except PeerBrokeRules as fault:
    say('peer-broke-rules', how=str(fault))
