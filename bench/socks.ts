/** As much of a SOCKS5 server as the load asks for; shared by the forwarders and the floor. */
import type { Socket } from 'node:net';

/** VER, NMETHODS, METHODS; then VER, CMD, RSV, ATYP, an IPv4 address and a port (RFC 1928 §3, §4). */
const GREETING_BYTES = 3;
const REQUEST_BYTES = 10;

/**
 * Answers the request when the next hop stands, as a proxy would. `near` is paused then, with what came behind the
 * request put back. The address that was asked for is read and not used.
 */
export function negotiate<Far extends { readonly socket: Socket }>(
  near: Socket,
  dial: () => Far,
  join: (near: Socket, far: Far) => void,
): void {
  let seen: Buffer = Buffer.alloc(0);
  let greeted = false;
  near.on('error', () => {});
  const read = (chunk: Buffer): void => {
    seen = Buffer.concat([seen, chunk]);
    if (!greeted && seen.length >= GREETING_BYTES) {
      greeted = true;
      near.write(Buffer.of(5, 0));
    }
    if (seen.length < GREETING_BYTES + REQUEST_BYTES) return;
    near.off('data', read);
    near.pause();
    const far = dial();
    far.socket.on('error', () => near.destroy());
    far.socket.once('connect', () => {
      near.write(Buffer.of(5, 0, 0, 1, 0, 0, 0, 0, 0, 0));
      const rest = seen.subarray(GREETING_BYTES + REQUEST_BYTES);
      if (rest.length > 0) near.unshift(rest);
      join(near, far);
    });
  };
  near.on('data', read);
}
