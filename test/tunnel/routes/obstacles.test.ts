import { describe, expect, it } from 'vitest';
import { FAULTS, type FaultName, WstunError } from '../../../src/errors.ts';
import { answerFault } from '../../../src/transport/answer-faults.ts';
import { dialFault } from '../../../src/transport/connection/relay-dial-faults.ts';
import type { Obstacle } from '../../../src/transport/dial-obstacle.ts';
import { isForAll, isWorth, obstacleOf, tellingRank } from '../../../src/tunnel/routes/obstacles.ts';
import type { Route } from '../../../src/tunnel/routes/route.ts';

const PROXY = { name: 'http://10.0.0.1:3128', connect: () => Promise.reject(new Error('not dialled here')) };
const FAILED: Route = { carrier: 'websocket', proxy: PROXY };
const OTHER_CARRIER: Route = { ...FAILED, carrier: 'http' };
const DIRECT: Route = { carrier: 'websocket' };

const answer = (status: number, headers = {}) =>
  answerFault({ status, headers, url: new URL('ws://relay.example/ticket'), where: 'relay.example:80' });
const dial = (code: string, connected: boolean) => dialFault({ code }, { where: 'relay.example:443', connected });

describe('what is in the way of a route', () => {
  it.each<[string, WstunError, Obstacle]>([
    ['TCP is refused', dial('ECONNREFUSED', false), 'unreachable'],
    ['TCP has no answer', dial('ETIMEDOUT', false), 'unreachable'],
    ['there is no route', dial('EHOSTUNREACH', false), 'unreachable'],
    ['the name does not exist', dial('ENOTFOUND', false), 'name'],
    ['there are no descriptors', dial('EMFILE', false), 'local'],
    ['the connection is reset after TCP', dial('ECONNRESET', true), 'cut'],
    ['nothing comes after TCP', dial('ETIMEDOUT', true), 'silent'],
    ['the certificate is not trusted', new WstunError('relay-untrusted'), 'untrusted'],
    ['TLS is inspected', new WstunError('tls-inspected'), 'untrusted'],
    ['the server ends the TLS handshake', dial('ERR_SSL_TLSV1_ALERT_ACCESS_DENIED', true), 'not-tls'],
    ['the answer is not TLS', dial('ERR_SSL_WRONG_VERSION_NUMBER', true), 'not-tls'],
    ['the answer is not HTTP', dial('HPE_INVALID_CONSTANT', true), 'answer'],
    ['404', answer(404), 'answer'],
    ['400', answer(400), 'answer'],
    ['403', answer(403), 'answer'],
    ['426', answer(426), 'answer'],
    ['a redirect', answer(302, { location: 'http://portal.example/' }), 'answer'],
    ['502', answer(502), 'gateway'],
    ['503', answer(503), 'gateway'],
    ['Cloudflare cannot reach the relay', answer(521, { 'cf-ray': 'x' }), 'gateway'],
    ['the upgrade is dropped', new WstunError('upgrade-dropped'), 'upgrade-dropped'],
    ['the link ends within the handshake', new WstunError('handshake-failed'), 'handshake'],
    ['the handshake gets no answer', new WstunError('link-slow'), 'silent'],
    ['the relay is full', new WstunError('relay-full'), 'relay'],
    ['the exit is absent', new WstunError('exit-absent'), 'relay'],
    ['the keys were rotated', new WstunError('keys-rotated'), 'relay'],
  ])('where %s, the obstacle is known', (_what, error, obstacle) => {
    expect(obstacleOf(error)).toBe(obstacle);
  });

  it('every fault has an obstacle, and every obstacle a place in the order of what tells most', () => {
    for (const fault of Object.keys(FAULTS) as FaultName[])
      expect(tellingRank(new WstunError(fault)), fault).toBeGreaterThanOrEqual(0);
  });

  it.each<[Obstacle, boolean, boolean]>([
    // Obstacle, is another carrier on the same path worth an attempt, is another path.
    ['local', false, false],
    ['relay', false, false],
    ['name', false, true],
    ['unreachable', false, true],
    ['proxy', false, true],
    ['not-tls', false, true],
    ['untrusted', false, true],
    ['cut', true, true],
    ['silent', true, true],
    ['answer', true, true],
    ['handshake', true, true],
    ['upgrade-dropped', true, true],
    ['http-link-unknown', true, true],
    ['gateway', false, false],
  ])('after %s, another carrier is worth an attempt: %s, and another path: %s', (obstacle, carrier, path) => {
    expect(isWorth(OTHER_CARRIER, FAILED, obstacle, false)).toBe(carrier);
    expect(isWorth(DIRECT, FAILED, obstacle, false)).toBe(path);
  });

  it('a web server that cannot reach the relay twice in a row may be a filter', () => {
    expect(isWorth(OTHER_CARRIER, FAILED, 'gateway', true)).toBe(true);
    expect(isWorth(DIRECT, FAILED, 'gateway', true)).toBe(true);
  });

  it('only what the relay says, or this machine, holds for all routes', () => {
    expect((['relay', 'local', 'gateway', 'cut', 'untrusted'] as const).filter(isForAll)).toEqual(['relay', 'local']);
  });
});
