/** The signal of what is never given up. Any number may wait for it at once, so Node need not warn of a leak. */
import { setMaxListeners } from 'node:events';

export const never: AbortSignal = new AbortController().signal;
setMaxListeners(0, never);
