/** What an exit in this process does with the streams that it is offered: each sends back what comes. */
import type { StreamAcceptor } from '../../../src/tunnel/stream/stream.ts';

export const ECHO: StreamAcceptor = {
  handleOffer(offer) {
    const stream = offer.accept();
    stream.on('error', () => {});
    stream.once('close', () => offer.release());
    stream.pipe(stream);
  },
};
