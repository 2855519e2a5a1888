/**
 * The functions of PAC scripts that the package `pac-resolver` has otherwise: its `shExpMatch` can take for ever, and
 * its `myIpAddress` connects to a name server of Google. Here names are looked up outside of the script, by its caller.
 */
import { createSocket } from 'node:dgram';
import { networkInterfaces } from 'node:os';
import { parseIpv4 } from '../../net/ip.ts';

/** Of both texts, characters: a script sees scheme, host and port. Larger ones take too long. */
const MAX_MATCHED = 4096;

/** `*` is any text, `?` any character. Its time is the product of both lengths at most. */
export function shExpMatch(text: string, pattern: string): boolean {
  if (text.length > MAX_MATCHED || pattern.length > MAX_MATCHED) return false;
  let [at, of] = [0, 0];
  /** After the last `*`, and where its text may end. */
  let [afterStar, end] = [-1, 0];
  while (at < text.length) {
    if (pattern[of] === '*') {
      of += 1;
      [afterStar, end] = [of, at];
    } else if (pattern[of] === '?' || pattern[of] === text[at]) {
      at += 1;
      of += 1;
    } else if (afterStar >= 0) {
      end += 1;
      [at, of] = [end, afterStar];
    } else return false;
  }
  return /^\**$/.test(pattern.slice(of));
}

/** Whether an IPv4 address and a pattern are alike in the bits of `mask`. */
export function isInNet(address: string, pattern: string, mask: string): boolean {
  const [ip, wanted, bits] = [address, pattern, mask].map(parseIpv4);
  if (ip === undefined || wanted === undefined || bits === undefined) return false;
  return bits.every((byte, at) => ((ip[at] ?? 0) & byte) === ((wanted[at] ?? 0) & byte));
}

/** From which address this machine would reach the Internet. It sends nothing: UDP is only connected. */
export async function ownAddress(): Promise<string> {
  const socket = createSocket('udp4');
  try {
    return await new Promise<string>((resolve, reject) => {
      socket.once('error', reject);
      // Any public address would do; browsers take this one.
      socket.connect(53, '8.8.8.8', () => resolve(socket.address().address));
    });
  } catch {
    const all = Object.values(networkInterfaces()).flatMap((infos = []) => infos);
    return all.find(({ family, internal }) => family === 'IPv4' && !internal)?.address ?? '127.0.0.1';
  } finally {
    socket.close();
  }
}
