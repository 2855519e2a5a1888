/** Datagrams of a program that knows of no proxy, and who sends them back. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { run } from '../programs/programs.ts';
import { atEnd } from '../scope.ts';

/** Bytes that it gets, it sends back. */
export async function echoDatagrams(host: string): Promise<number> {
  const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4');
  socket.on('message', (bytes, from) => socket.send(bytes, from.port, from.address));
  socket.bind(0, host);
  await once(socket, 'listening');
  atEnd(() => socket.close());
  return socket.address().port;
}

/** Arguments: an address, and ports there. One socket sends to all, and looks from where each answer comes. */
const SEND_DATAGRAMS = `
import socket, sys
host, ports = sys.argv[1], [int(port) for port in sys.argv[2:]]
family = socket.AF_INET6 if ':' in host else socket.AF_INET
sender = socket.socket(family, socket.SOCK_DGRAM)
sender.settimeout(10)
answers = 0
for size in range(1, 1400, 100):
    for port in ports:
        sent = bytes([size % 256]) * size
        sender.sendto(sent, (host, port))
        got, where = sender.recvfrom(2000)
        answers += got == sent and where[:2] == (host, port)
print(len(ports), 'ports,', answers, 'answers')
`;

/** @returns how many ports there are, and how many answers came whole and from where they were asked for */
export async function exchangeDatagrams(
  there: readonly string[],
  host: string,
  ports: readonly number[],
): Promise<string> {
  const args = ['-c', SEND_DATAGRAMS, host, ...ports.map(String)];
  const { stdout, stderr } = await run('python3', args, { within: there, limitMs: 20_000 });
  return stdout + stderr;
}
