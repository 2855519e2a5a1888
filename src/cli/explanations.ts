/** More than docs/errors.md says, of the errors that people meet most: causes in the order of their likelihood. */
import type { FaultName } from '../errors.ts';

export const EXPLANATIONS: Partial<Record<FaultName, string>> = {
  'bad-option': `The message names the option or the word that was not understood. A value that
begins with a hyphen needs "=": --header=-x. Words with spaces or *, and IPv6
addresses in brackets, need quotes in most shells.`,
  'cannot-listen': `Ports below 1024 need root, or the capability CAP_NET_BIND_SERVICE. If the port
is taken, this shows by what: ss -ltnp. Perhaps it is another wstun.`,
  'invite-malformed': `An invite is one word of about 190 characters that begins with "wstun1_". Mails
and chats may break it into lines: that is understood. What is not: an invite
whose characters were changed, for example by automatic links.`,
  'invite-missing': `A client keeps the invite that was pasted or given as an argument: wstun profiles
shows whether there is one. It keeps none of a file or of $WSTUN_INVITE: these
have to be there at each start. An exit remembers its invite, so this one has not
been started here with one, or uses another state directory (wstun help files).`,
  'state-unusable': `The state directory holds secrets, so it must belong to the user who runs wstun,
with mode 0700 (chmod 700 DIR). A service has another user than you: run
commands for it as that user, or as root with --state DIR.`,
  'state-missing': `wstun access and wstun keys change the state of a relay or an exit on this
machine. Run them where that one runs, as the same user, or name its directory.`,
  'relay-unreachable': `The message says how it failed. "connection refused": nothing listens there, so
the relay is not running or has another port. No answer in time: a firewall
drops packets, here or at the relay. A name that does not exist: see whether
this network resolves other names. Where only a proxy gets out, name it:
wstun help proxies. What is in the way: wstun doctor.`,
  'relay-refused': `A relay answers 404 to everyone whose ticket it does not know, so that nobody
can tell it from a web server. So either the invite was revoked, or the relay
has new keys, or does not know that it is reached by this URL, or something
that is not the relay has answered: a web server whose path leads elsewhere, or
a filter. The owner of the relay sees in wstun access list whether the name is
still there, and in its log whether the URL is the reason (--own-url).`,
  'relay-untrusted': `No authority that this machine trusts has signed the certificate. A relay with
--tls-self-signed needs an invite with the pin of its key: invites of before
have none, so ask for a new one. A company's network may inspect TLS and sign
with its own authority: give that one with --tls-ca FILE. Your data is
encrypted for the exit all the same; who reads TLS sees sizes, times and
tickets.`,
  'relay-odd-answer': `The address was reached, and what answered speaks HTTP but is no relay. In a
hotel or a train it is often a login page: open any http:// page in a browser.
Behind nginx or Caddy the upgrade may not be passed on (docs/operations.md).
If a filter removes WebSockets, wstun tries HTTP requests by itself.`,
  'link-lost': `Networks end connections: after a time, when you change the network, when a
machine sleeps. Open connections are held (--resume-window, 120 s) and continue
on the next link; nothing is lost or repeated.`,
  'access-removed': `The owner removed the name, or renewed its invite, which revokes the old one.`,
  'not-connected': `A program opened a connection while there was no link, and none came within ten
seconds. The client says on its own terminal why it has no link.`,
  'handshake-failed': `The relay let the link pass, but the other end is not the exit of this invite,
or does not know this client. Most often the name was removed at the exit, or
the exit was set up anew and has other keys.`,
  'exit-absent': `The relay works, and your invite is for an exit that is not connected to it now:
it is not running, or its network is down.`,
  'keys-rotated': `wstun keys rotate makes new keys and revokes every invite. It is final: the
client ends, because trying again is useless.`,
  'tls-inspected': `The certificate was made by a program on the way that opens TLS, as those of
companies and of virus scanners do. It would see tickets, sizes and times. It
cannot read what passes, which is encrypted for the exit.`,
  'proxy-credentials-needed': `The proxy answered 407. Put user:password on the first line of a file that only
you can read (chmod 600) and give it with --proxy-auth-file. Basic, Digest and
NTLM are built in. For Kerberos: docs/proxies.md.`,
  'proxy-forbids': `The proxy was reached and does not let this connection through. Many proxies
allow CONNECT only to port 443: let the relay listen there.`,
  'login-required': `The network answers in place of the relay until you have logged in. Its page is
named in the message where it is known. The client goes on by itself after that.`,
  'dial-refused': `The exit reached the machine, and nothing listens on that port. Names and
addresses count as the exit sees them: localhost is the exit itself.`,
  'dial-not-allowed': `An exit connects to public addresses only, unless a rule of the name allows more:
private networks, the exit's own machine, addresses of a cloud's metadata. On
the machine of the exit: wstun access set NAME --allow 10.0.0.0/8:22.`,
  'dial-timed-out': `The exit sent its packets and got no answer: the target is down, or a firewall
drops what comes from the exit's address.`,
  internal: `This is a defect in wstun. Please report it, with the output of wstun version and
what you did.`,
};
