/** `wstun help invites`. */

export const invites = (): string => `Invites

An invite is one line, wstun1_…, that a person pastes to join. It contains the
URL of the relay, the keys to check, and the secret of its owner. Whoever has it
can use the relay under that name until the name is removed.

The first start of a relay prints an invite with the name "default". For others,
on the machine of the relay, or of the exit if you have one of your own:
  wstun access add alice

It is printed once, as only its public key is kept. If it is lost:
  wstun access renew alice

Change what alice may reach, without a new invite:
  wstun access set alice --allow 10.0.0.0/8:22 --rate 20mbit

End her access. Her sessions end within two seconds:
  wstun access remove alice

To use it: the client asks for it, shows nothing of it, and keeps it. The next
time nothing is asked. To list and to remove those that are kept:
  wstun client
  wstun profiles
  wstun forget NAME

From a file, of which nothing is kept:
  wstun client --invite-file ~/.config/wstun.invite

An exit of your own registers at the relay with an invite for exits. It then
makes the invites of its clients itself:
  wstun access add home --role exit

New keys revoke every invite (wstun help keys rotate). Clients are then told so.
An incomplete or mistyped invite is noticed: it has a checksum.
`;
