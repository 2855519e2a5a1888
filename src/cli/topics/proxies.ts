/** `wstun help proxies`. */

export const proxies = (): string => `Proxies

A client or an exit reaches its relay through the proxy that https_proxy (wss://
relays), http_proxy (ws:// relays) or all_proxy names, unless no_proxy has the
relay. Without these variables, it connects directly.

Name the proxy, or use none:
  wstun client --proxy http://proxy.corp.example:3128 wstun1_…
  wstun client --proxy socks5h://127.0.0.1:9050 wstun1_…
  wstun client --proxy pac+https://proxy.corp.example/proxy.pac wstun1_…
  wstun client --proxy none wstun1_…

With a password, in a file that only you can read; the first line of the file is
user:password. Basic, Digest and NTLM are built in:
  wstun client --proxy http://proxy.corp.example:3128 \\
    --proxy-auth-file ~/.wstun-proxy wstun1_…

With Kerberos, or another scheme that a program knows:
  wstun client --proxy http://proxy.corp.example:3128 \\
    --proxy-auth-command ./negotiate.sh wstun1_…

Where only browsers get through the proxy:
  wstun client --via-browser wstun1_…

If the proxy inspects TLS, it has an authority of its own:
  wstun client --tls-ca company-ca.pem wstun1_…

The proxy of an exit's targets is another one. Rules are checked before it:
  wstun exit --via socks5://10.0.0.1:1080

What the client says when a proxy is in the way: wstun explain E250 to E260.
`;
