/** Reads a whole header of the PROXY protocol, version 2, strictly: the specification in its own words. */
import { formatHostPort } from '../../src/net/host-port.ts';
import { formatIp } from '../../src/net/ip.ts';

export interface ProxyV2 {
  readonly command: 'LOCAL' | 'PROXY';
  readonly source?: string;
  readonly target?: string;
}

export function parseProxyV2(bytes: Buffer): ProxyV2 {
  const signature = '\r\n\r\n\0\r\nQUIT\n';
  if (bytes.toString('latin1', 0, 12) !== signature) throw new Error('no signature');
  const [command, family] = [bytes[12], bytes[13]];
  if (bytes.length !== 16 + bytes.readUInt16BE(14)) throw new Error('length');
  if (command === 0x20) return { command: 'LOCAL' };
  if (command !== 0x21) throw new Error(`command ${command}`);
  const size = family === 0x11 ? 4 : family === 0x21 ? 16 : 0;
  if (bytes.length !== 16 + 2 * size + 4) throw new Error(`family ${family}`);
  const host = (at: number) => formatIp(Uint8Array.from(bytes.subarray(at, at + size)));
  const place = (at: number, portAt: number) => formatHostPort({ host: host(at), port: bytes.readUInt16BE(portAt) });
  return { command: 'PROXY', source: place(16, 16 + 2 * size), target: place(16 + size, 18 + 2 * size) };
}
