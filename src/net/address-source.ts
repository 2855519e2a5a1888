/**
 * What limits by address go by: an IPv4 address, or the /64 of an IPv6 address, since one machine has as many addresses
 * in that as it likes. Pure. Which addresses are limited at all is the caller's to say.
 */

/**
 * Without what a socket of both families, or a link-local address, adds. @param address as `socket.remoteAddress` has
 * it
 */
export function plainAddress(address: string): string {
  return address.replace(/^::ffff:(?=\d+\.)/i, '').replace(/%.*$/, '');
}

/** @param ip as `plainAddress` gives it */
export function sourceOfAddress(ip: string): string {
  return ip.includes(':') ? networkOf(ip) : ip;
}

/** The first four groups, with `::` written out. A dotted tail stands for two groups, which never reaches them. */
function networkOf(ip: string): string {
  const [left = '', right] = ip.split('::').map((part) => part.toLowerCase());
  const head = left === '' ? [] : left.split(':');
  const tail = right === undefined || right === '' ? [] : right.split(':');
  const zeros = Array.from({ length: Math.max(0, 8 - head.length - tail.length) }, () => '0');
  return `${[...head, ...zeros, ...tail].slice(0, 4).join(':')}::/64`;
}
