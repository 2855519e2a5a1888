/** `wstun help encryption`. */

export const encryption = (): string => `Encryption, and what the relay sees

Every link begins with a Noise handshake between client and exit, which checks
both by the keys of the invite. What passes is encrypted between those two,
whoever ends TLS in between.

With the exit that is built into the relay:
  The relay is the exit. It sees the targets, and reads what programs send
  without encryption of their own. With HTTPS or ssh it sees the target only.

With an exit of your own (wstun help exit):
  The relay sees which client talks to which exit, when, and how much. It can
  delay or cut connections. It sees neither targets nor data, and can neither
  change, drop nor repeat a byte without being noticed.

Others see:
  A network that inspects TLS    addresses, sizes and times
  A phone's page (--tether)      sizes and times, and the address of the relay
  Someone without an invite      a plain 404, or the site of --decoy
  A target                       the address of the exit

TLS to the relay (wss://) hides the tickets that open links, and that it is
wstun at all. It is not what protects the data. With ws:// the data is encrypted
all the same.

--encryption off leaves encryption to TLS. It is possible only over wss:// to
the exit built into the relay.

Nothing is padded: sizes and times of transfers can be seen by whoever sees the
link. wstun does not make you anonymous.
`;
