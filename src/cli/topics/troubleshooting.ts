/** `wstun help troubleshooting`. */

export const troubleshooting = (): string => `When it does not work

1. Read the last message. It ends in a code: wstun explain CODE.

2. What is in the way? One check a line, then the cause and what to do:
     wstun doctor
   A client tries again by itself. A login page needs a browser first.

3. Does the relay run, and can it be reached from here? Without an invite, it
   answers like a web server that has no page:
     curl -i https://relay.example.org/

4. Does the tunnel carry a connection? Then the program is not set up:
     curl -x socks5h://127.0.0.1:1080 https://example.org/

   What curl says            what it means
   connection refused        no client listens there: see its first lines
   403, not allowed          the target is private, or a rule forbids it:
                             wstun access set NAME --allow RULE
   502, 504                  the exit cannot reach the target
   503                       there is no link at the moment: see step 2

5. Where the network is in the way:
     wstun client --proxy http://proxy.corp.example:3128 wstun1_…
     wstun client --transport http wstun1_…
     wstun client --via-browser wstun1_…
     wstun client --tether wstun1_…

6. Where downloads are slow: --links 4. Where connections freeze after some
   kilobytes: --link-max-bytes 16KB. Both are found out by themselves, too.

For a report: wstun doctor --report FILE, or the output of the command with -v.
Secrets are not in it; destinations are.
`;
