"""What a program here is given, and how it tells its test what it saw."""

import json
import os

from invites import Invite, decode_invite


def invite_of_environment() -> Invite:
    return decode_invite(os.environ['WSTUN_INVITE'])


def say(event: str, **fields):
    """One line of JSON."""
    print(json.dumps({'event': event, **fields}), flush=True)
