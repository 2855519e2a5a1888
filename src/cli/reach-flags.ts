/** The options of `wstun client` and `wstun exit` that say how the relay is reached. */
import { type Command, Option } from 'commander';
import { WstunError } from '../errors.ts';
import type { HostPort } from '../net/host-port.ts';
import { collect, parseHostPort } from './options.ts';

const texts = collect((text) => text);

export function addReachOptions(command: Command): Command {
  return command
    .option(
      '--tls-ca <file>',
      'also trust the authorities in this PEM file, for the relay and a proxy; may be repeated',
      texts,
    )
    .option('--tls-pin <pin>', 'accept only TLS keys with this pin, sha256/BASE64 as in curl; may be repeated', texts)
    .option('--tls-cert <file>', 'PEM certificate to show to a server that demands one')
    .option('--tls-key <file>', 'its PEM private key')
    .option('--sni <name>', 'server name that TLS sends; none: no name (default: the host in the URL)')
    .option('--host <name>', 'Host header of the requests (default: the host in the URL)')
    .addOption(
      new Option('--connect-to <host:port>', 'connect there instead of to the host in the URL').argParser(
        parseConnectTo,
      ),
    )
    .option(
      '--header <field>',
      "add this header field, 'Name: value'; may be repeated; @FILE and $WSTUN_HEADERS have one on each line",
      texts,
    )
    .option('--user-agent <text>', 'User-Agent header of the requests (default: none)')
    .option('--source <address|interface>', 'make connections from this local address or network interface')
    .option('-4, --ipv4', 'use only IPv4 to reach the relay')
    .option('-6, --ipv6', 'use only IPv6 to reach the relay')
    .addOption(new Option('--prefer <version>', 'addresses to try first').choices(['ipv4', 'ipv6']));
}

function parseConnectTo(text: string): HostPort {
  try {
    return parseHostPort(text);
  } catch {
    throw new WstunError('bad-option', '--connect-to needs HOST:PORT, with an IPv6 host in brackets');
  }
}
