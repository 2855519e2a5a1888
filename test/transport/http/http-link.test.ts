/** @module-tag waits */

import { openHttpPair, startHoldingFront, startHttp2Front } from '../../support/links/http-pair.ts';
import { describeLinkCompliance } from '../../support/links/link-compliance.ts';
import { trusting } from '../../support/links/trusting.ts';
import { makeCertificate } from '../../support/programs/certificate.ts';

const tls = makeCertificate();
const overHttp2 = { front: (port: number) => startHttp2Front(port, tls), dial: { reach: trusting(tls.cert) } };
const polled = { front: startHoldingFront, dial: { times: { heldBackMs: 100 } } };

describeLinkCompliance('an HTTP link, from the client', () => openHttpPair());
describeLinkCompliance('an HTTP link, from the relay', () => openHttpPair({ near: 'relay' }));
describeLinkCompliance('an HTTP link over HTTP/2, from the client', () => openHttpPair(overHttp2));
describeLinkCompliance('an HTTP link over HTTP/2, from the relay', () => openHttpPair({ ...overHttp2, near: 'relay' }));
describeLinkCompliance('a polled HTTP link, from the client', () => openHttpPair(polled));
describeLinkCompliance('a polled HTTP link, from the relay', () => openHttpPair({ ...polled, near: 'relay' }));
