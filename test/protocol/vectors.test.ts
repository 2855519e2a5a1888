/** The test vectors of docs/protocol.md, appendix A, checked with the code that goes into the product. */
import { createHmac, hkdfSync } from 'node:crypto';
import nacl from 'tweetnacl';
import { describe, expect, it, vi } from 'vitest';
import { type CipherSuite, importCipherKey, rekey } from '../../src/crypto/aead.ts';
import { AUDIENCE_FEATURE, writeAudience } from '../../src/crypto/audience.ts';
import { decodeInvite, encodeInvite, type Invite } from '../../src/crypto/invite.ts';
import {
  formatIdentitySecret,
  formatPublicIdentity,
  Identity,
  parseIdentitySecret,
  parsePublicIdentity,
} from '../../src/crypto/keys.ts';
import { HandshakeState } from '../../src/crypto/noise.ts';
import { isPublicKey } from '../../src/crypto/public-key.ts';
import { RecordOpener, RecordSealer } from '../../src/crypto/record-cipher.ts';
import { audienceOf, decodeSegment, TicketOpener, TicketSealer } from '../../src/crypto/ticket.ts';
import { decodeTicket, numericHint, openTicket, sealRefusal } from '../../src/crypto/ticket-format.ts';
import { importKeyPair } from '../../src/crypto/x25519.ts';
import { RecordEncoder } from '../../src/protocol/frame-encoder.ts';
import { decodeRecordHeader, encodeRecordHeader } from '../../src/protocol/record-header.ts';
import {
  decodeSessionAnswer,
  decodeSessionRequest,
  encodeSessionAnswer,
  encodeSessionRequest,
} from '../../src/protocol/session-request.ts';
import { decodeControl, encodeControl, encodeNotice } from '../../src/transport/control-messages.ts';
import { BlockReader } from '../../src/transport/http/blocks.ts';
import {
  decodeRequest,
  decodeUpAnswer,
  encodeDownHead,
  encodeRequest,
  encodeUpAnswer,
  type LinkRequest,
} from '../../src/transport/http/link-requests.ts';
import { StreamSender } from '../../src/transport/http/stream-sender.ts';
import { EMPTY, withEphemeral } from '../support/crypto/noise.ts';
import { decodePieces } from '../support/mux/frame-log.ts';
import { FRAME_VECTORS, RECORD_VECTORS } from '../support/mux/frame-vectors.ts';
import { naiveDecode } from '../support/mux/naive-decoder.ts';
import { hex, SESSION_ID as ID, isOfSession, readVectors } from '../support/mux/vectors.ts';

const random = vi.hoisted<Uint8Array[]>(() => []);

/** Nonces that are otherwise drawn at random are those of the page, as long as there are any. */
vi.mock('node:crypto', async (original) => {
  const real = await original<typeof import('node:crypto')>();
  return { ...real, randomBytes: (bytes: number) => random.shift() ?? real.randomBytes(bytes) };
});

const { bytes, text, number, names, unused } = readVectors('docs/protocol.md');

describe('keys of appendix A', () => {
  it.each(['client', 'relay'])('the keys and their text forms follow from the secret of the %s', (who) => {
    const identity = new Identity(bytes(`${who}.secret`));
    for (const use of ['gate', 'session'] as const) {
      const secret = hkdfSync('sha256', bytes(`${who}.secret`), EMPTY, `wstun ${use} x25519 v1`, 32);
      expect(hex(new Uint8Array(secret))).toBe(hex(bytes(`${who}.${use}.private`)));
      const { publicKey } = importKeyPair(bytes(`${who}.${use}.private`));
      expect(hex(publicKey)).toBe(hex(bytes(`${who}.${use}.public`)));
      expect(hex(identity.public[use])).toBe(hex(publicKey));
    }
    expect(formatPublicIdentity(identity.public)).toBe(text(`${who}.public.text`));
    const parsed = parsePublicIdentity(text(`${who}.public.text`));
    expect([hex(parsed.gate), hex(parsed.session)]).toEqual([hex(identity.public.gate), hex(identity.public.session)]);
    expect(formatIdentitySecret(identity)).toBe(text(`${who}.secret.text`));
    expect(hex(parseIdentitySecret(text(`${who}.secret.text`)).exposeSecret())).toBe(hex(bytes(`${who}.secret`)));
  });

  it('no refused key is taken as a public key', () => {
    const refused = names.filter((name) => name.startsWith('refused-key.'));
    expect(refused).toHaveLength(8);
    for (const name of refused) expect(isPublicKey(bytes(name)), name).toBe(false);
  });
});

const client = new Identity(bytes('client.secret'));
const relay = new Identity(bytes('relay.secret'));

describe('invites of appendix A', () => {
  const whole = {
    relayUrls: ['wss://relay.example.org'],
    relayGateKey: relay.public.gate,
    exitSessionKey: relay.public.session,
    peer: client,
  };
  const invites: [string, Invite][] = [
    ['invite.client.text', { ...whole, exitName: 'home', role: 'client' }],
    ['invite.exit.text', { ...whole, exitName: 'home', role: 'exit' }],
    ['invite.without-role.text', { ...whole, exitName: undefined }],
    ['invite.pinned.text', { ...whole, exitName: undefined, role: 'client', tlsPins: [bytes('invite.pinned.pin')] }],
  ];

  it.each(invites)('%s is written and read as the page says', (name, invite) => {
    expect(encodeInvite(invite)).toBe(text(name));
    const { peer, exitName, role, relayGateKey, exitSessionKey, relayUrls, tlsPins } = decodeInvite(text(name));
    expect(tlsPins?.map(hex)).toEqual((invite.tlsPins ?? []).map(hex));
    expect(hex(peer.exposeSecret())).toBe(hex(bytes('client.secret')));
    expect({ exitName, role, relayUrls }).toEqual({
      exitName: invite.exitName,
      role: invite.role,
      relayUrls: invite.relayUrls,
    });
    expect([hex(relayGateKey), hex(exitSessionKey)]).toEqual([hex(relay.public.gate), hex(relay.public.session)]);
  });
});

describe('tickets of appendix A', () => {
  const key = bytes('ticket.K');
  const now = number('ticket.time.number') * 1000;
  const sealer = new TicketSealer(client, relay.public.gate);
  const token = hex(ID);
  const tickets = [
    { name: 'ticket.text', role: 'client', destination: 'home', features: 0 },
    { name: 'ticket.page.text', role: 'client', destination: '', features: 0x8000 },
    { name: 'ticket.control.text', role: 'exit', destination: '', features: 0x7000 },
    { name: 'ticket.call.text', role: 'exit', destination: token, features: 0 },
  ] as const;

  it('K is the same on both sides', () => {
    expect(hex(client.exposeGateSharedKey(relay.public.gate))).toBe(hex(key));
    expect(hex(relay.exposeGateSharedKey(client.public.gate))).toBe(hex(key));
  });

  it('the hints are those of the epoch and of its neighbours', () => {
    const epoch = number('ticket.epoch.number');
    expect(epoch).toBe(Math.floor(now / 120_000));
    const hints = ['ticket.hint.before', 'ticket.hint', 'ticket.hint.after'].map((name) => `0x${hex(bytes(name))}`);
    expect(hints.map(BigInt)).toEqual([-1, 0, 1].map((step) => numericHint(key, epoch + step)));
  });

  it('hint, nonce and box make up the ticket, and the box holds the payload', () => {
    const [hint, nonce, box] = [bytes('ticket.hint'), bytes('ticket.nonce'), bytes('ticket.box')];
    expect(Buffer.concat([hint, nonce, box]).toString('base64url')).toBe(text('ticket.text'));
    expect(hex(nacl.box.open.after(box, nonce, key) ?? EMPTY)).toBe(hex(bytes('ticket.payload')));
  });

  it.each(tickets)('$name is sealed and opened as the page says', ({ name, role, destination, features }) => {
    const fields = { role, destination, features, protocol: 1 };
    random.push(bytes('ticket.nonce'));
    expect(sealer.seal(fields, now)).toBe(text(name));
    const opener = new TicketOpener(relay);
    opener.setPeers([
      { name: 'c', gateKey: client.public.gate, role, destination: role === 'exit' ? '' : destination },
    ]);
    expect(opener.open(text(name), now)).toEqual({ admitted: true, peer: 'c', fields });
  });

  it('the audience of a URL is that of the page', () => {
    const urls = {
      'default-port': 'wss://relay.example.org',
      port: 'ws://relay.example.org:8080',
      path: 'wss://relay.example.org/any/path',
      ipv6: 'ws://[2001:db8::1]',
    };
    for (const [name, url] of Object.entries(urls))
      expect(audienceOf(url), name).toBe(bytes(`audience.${name}`).readBigUInt64BE(0));
  });

  it('a ticket for one relay is sealed as the page says, and opened by that relay alone', () => {
    const audience = audienceOf('wss://relay.example.org');
    const masked = Buffer.concat([bytes('ticket.nonce').subarray(0, 16), Buffer.alloc(8)]);
    writeAudience(key, masked, 0n);
    expect(hex(masked.subarray(16))).toBe(hex(bytes('audience.mask')));
    const fields = { role: 'client', destination: 'home', protocol: 1 } as const;
    random.push(bytes('ticket.nonce'));
    const sealed = sealer.seal({ ...fields, features: 0 }, now, audience);
    expect(sealed).toBe(text('ticket.audience.text'));
    const decoded = decodeTicket(sealed);
    expect(hex(decoded?.nonce ?? EMPTY)).toBe(hex(bytes('ticket.audience.nonce')));
    expect(decoded && openTicket(key, decoded)).toMatchObject({ audience });
    const openerOf = (own: bigint) => {
      const opener = new TicketOpener(relay, { audiences: { has: (one) => one === own } });
      opener.setPeers([{ name: 'c', gateKey: client.public.gate, role: 'client', destination: 'home' }]);
      return opener;
    };
    expect(openerOf(audience + 1n).open(sealed, now)).toMatchObject({ admitted: false, reason: 'misdirected' });
    const opened = { admitted: true, peer: 'c', audience, fields: { ...fields, features: AUDIENCE_FEATURE } };
    expect(openerOf(audience).open(sealed, now)).toEqual(opened);
  });

  it('the proof of retired keys is made, told to a client and recognised', () => {
    const opener = new TicketOpener(relay, { retired: true });
    opener.setPeers([{ name: 'c', gateKey: client.public.gate, role: 'client', destination: 'home' }]);
    const verdict = opener.open(text('ticket.text'), now);
    const proof = verdict.admitted ? verdict.rotationProof : undefined;
    expect(hex(proof ?? EMPTY)).toBe(hex(bytes('rotated.proof')));
    expect(hex(sealer.rotationProof(text('ticket.text')))).toBe(hex(bytes('rotated.proof')));
    expect(hex(Buffer.concat(encodeNotice('keys-rotated', proof)))).toBe(hex(bytes('rotated.notice')));
  });

  it('the proven refusal is made and read', () => {
    const etag = text('refusal.etag.text');
    random.push(bytes('refusal.nonce'));
    expect(sealRefusal(key, bytes('ticket.nonce'), 'clock-off', now)).toBe(etag);
    expect(sealer.refusalIn(etag, text('ticket.text'))).toEqual({ reason: 'clock-off', time: now });
    expect(sealer.refusalIn(`W/${etag.slice(0, -1)}-gzip"`, text('ticket.text'))).toBeDefined();
    const refusalKey = createHmac('sha256', key).update('wstun refusal v1').update(bytes('ticket.nonce')).digest();
    expect(hex(refusalKey)).toBe(hex(bytes('refusal.key')));
    const box = Buffer.from(etag.slice(1, -1), 'base64url').subarray(24);
    const payload = nacl.secretbox.open(box, bytes('refusal.nonce'), refusalKey);
    expect(hex(payload ?? EMPTY)).toBe(hex(bytes('refusal.payload')));
  });
});

describe('HTTP links of appendix A', () => {
  const now = number('ticket.time.number') * 1000;
  const requests: [string, LinkRequest][] = [
    ['http.up.payload', { kind: 'up', sequence: 1, offset: 0, received: 4096, waitMs: 0 }],
    ['http.down.payload', { kind: 'down', sequence: 2, offset: 'all-ones', received: 4100, waitMs: 0 }],
    ['http.poll.payload', { kind: 'poll', sequence: 3, offset: 5000, received: 5000, waitMs: 10_000 }],
    ['http.close.payload', { kind: 'close', sequence: 4, offset: 22, received: 5000, waitMs: 0 }],
  ];

  it('the key and the id of a link come from its ticket, on both sides', () => {
    const opener = new TicketOpener(relay);
    opener.setPeers([{ name: 'c', gateKey: client.public.gate, role: 'client', destination: '' }]);
    const decision = opener.open(text('http.ticket.text'), now);
    const opened = decision.admitted ? decision.httpLink : undefined;
    const sealed = new TicketSealer(client, relay.public.gate).httpLinkKey(text('http.ticket.text'));
    for (const key of [opened, sealed]) {
      const exposed = key?.expose();
      expect([hex(exposed?.key ?? EMPTY), hex(exposed?.id ?? EMPTY)]).toEqual([
        hex(bytes('http.key')),
        hex(bytes('http.id')),
      ]);
    }
    const payload = bytes('http.up.payload');
    expect(sealed.seal(payload, bytes('refusal.nonce'))).toBe(text('http.up.text'));
    const segment = decodeSegment(text('http.up.text'));
    expect(segment?.id).toBe(sealed.id);
    expect(hex((segment && opened?.open(segment)) ?? EMPTY)).toBe(hex(payload));
  });

  it.each(requests)('%s is written and read', (name, request) => {
    expect(hex(encodeRequest(request))).toBe(hex(bytes(name)));
    expect(decodeRequest(bytes(name))).toEqual(request);
  });

  it('the stream of blocks is written and read', () => {
    const sender = new StreamSender();
    sender.appendMessage([Buffer.from('ping')], 4);
    sender.appendPadding(8);
    sender.appendClose(1000);
    const stream = bytes('http.stream');
    expect(hex(Buffer.concat(sender.view(0, sender.end).pieces))).toBe(hex(stream));
    const read: unknown[] = [];
    const reader = new BlockReader({
      readsOnly: false,
      readMessage: () => {},
      handleMessage: (message) => read.push(Buffer.from(message).toString()),
      handleClose: (status) => read.push(status),
    });
    for (const byte of stream) expect(reader.read(Uint8Array.of(byte))).toBeUndefined();
    expect(read).toEqual(['ping', 1000]);
  });

  it('the numbers of answers are written and read', () => {
    const answer = { received: 22, sent: 4096 };
    expect(hex(encodeUpAnswer(answer, 0))).toBe(hex(bytes('http.up.answer')));
    expect(decodeUpAnswer(bytes('http.up.answer'))).toEqual(answer);
    expect(hex(encodeDownHead(4096))).toBe(hex(bytes('http.down.head')));
    expect(hex(encodeDownHead('all-ones'))).toBe(hex(bytes('http.ended')));
    expect(decodeUpAnswer(bytes('http.ended'))).toBe('ended');
  });
});

describe('frames of appendix A', () => {
  it.each(FRAME_VECTORS)('%s is written as the page says', (name, write) => {
    const encoder = new RecordEncoder();
    write(encoder);
    expect(hex(Buffer.concat(encoder.take()))).toBe(hex(bytes(name)));
  });

  it('all of them are read in a row, and the unknown one is skipped', () => {
    const all = [...FRAME_VECTORS.map(([name]) => bytes(name)), bytes('frame.unknown')];
    const read = decodePieces(all);
    expect(read.fault).toBeUndefined();
    expect(read).toEqual(naiveDecode(Buffer.concat(all)));
    // DATA is two: its header and its payload.
    expect(read.frames).toHaveLength(all.length + 1);
    // Among numbered frames a datagram is one that is skipped.
    expect(read.frames.filter(([type]) => type === 'ignorable')).toHaveLength(4);
  });
});

const BEGIN = { kind: 'begin', id: ID, received: 0 } as const;

describe('records of appendix A', () => {
  it('the request and the answers are written and read as the page says', () => {
    expect(hex(encodeSessionRequest(BEGIN))).toBe(hex(bytes('record.request')));
    expect(decodeSessionRequest([bytes('record.request')])).toEqual({ ...BEGIN, id: Uint8Array.from(ID) });
    expect(hex(encodeSessionAnswer({ received: 0 }))).toBe(hex(bytes('record.answer')));
    expect(decodeSessionAnswer([bytes('record.answer')])).toEqual({ received: 0 });
    expect(hex(encodeSessionAnswer({ fault: 'overloaded' }))).toBe(hex(bytes('record.answer.overloaded')));
    expect(decodeSessionAnswer([bytes('record.answer.overloaded')])).toEqual({ fault: 'overloaded' });
  });

  it.each(RECORD_VECTORS)('%s has the header and the frames that the page says', (name, header, frames) => {
    const record = Buffer.concat([encodeRecordHeader(header), ...frames.map(bytes)]);
    expect(hex(record)).toBe(hex(bytes(name)));
    expect(decodeRecordHeader([bytes(name)])?.header).toEqual(header);
  });
});

describe('handshakes of appendix A', () => {
  const suites: [string, CipherSuite, number][] = [
    ['chachapoly', 'ChaChaPoly', 1],
    ['aesgcm', 'AESGCM', 2],
  ];

  /** Both ends, with the keys and ephemerals of the page. */
  function partiesOf(name: string, suite: CipherSuite): { initiator: HandshakeState; responder: HandshakeState } {
    const prologue = bytes(`${name}.prologue`);
    const dhOf = (who: string) => withEphemeral(importKeyPair(bytes(`${name}.${who}.ephemeral.private`)));
    const rs = bytes('relay.session.public');
    const [s, exit] = ['client', 'relay'].map((who) => importKeyPair(bytes(`${who}.session.private`)));
    if (s === undefined || exit === undefined) throw new Error('no keys');
    return {
      initiator: new HandshakeState({ role: 'initiator', suite, prologue, s, rs }, { dh: dhOf('client') }),
      responder: new HandshakeState({ role: 'responder', suite, prologue, s: exit }, { dh: dhOf('exit') }),
    };
  }

  it.each(suites)('%s gives the messages, the hash and the keys of the page', (name, suite, code) => {
    const { initiator, responder } = partiesOf(name, suite);
    const header = Buffer.from([1, 1, code, 0, 0, 1]);
    expect(hex(Buffer.concat([Buffer.from('wstun/1\0'), header]))).toBe(hex(bytes(`${name}.prologue`)));
    const typed = (message: Uint8Array, before: Uint8Array) => hex(Buffer.concat([before, message]));
    const first = initiator.writeMessage(EMPTY);
    expect(typed(first, header)).toBe(hex(bytes(`${name}.message.1`)));
    responder.readMessage(first);
    const second = responder.writeMessage(EMPTY);
    expect(typed(second, Uint8Array.of(1))).toBe(hex(bytes(`${name}.message.2`)));
    initiator.readMessage(second);
    const third = initiator.writeMessage(EMPTY);
    expect(typed(third, Uint8Array.of(1))).toBe(hex(bytes(`${name}.message.3`)));
    responder.readMessage(third);
    const [client, exit] = [initiator.finish(), responder.finish()];
    for (const end of [client, exit]) expect(hex(end.handshakeHash)).toBe(hex(bytes(`${name}.hash`)));
    expect(hex(exit.remoteStatic)).toBe(hex(bytes('client.session.public')));
    for (const record of ['request', 'first', 'acknowledgement'])
      expectSealed(client.sealer, exit.opener, `record.${record}`, `${name}.sealed.${record}`);
    expectSealed(exit.sealer, client.opener, 'record.answer', `${name}.sealed.answer`);
  });

  it.each(suites)('the keys of %s that the page names seal the same records', (name, suite) => {
    const from = new RecordSealer(suite, bytes(`${name}.key.client`));
    const to = new RecordOpener(suite, bytes(`${name}.key.client`));
    for (const record of ['request', 'first', 'acknowledgement'])
      expectSealed(from, to, `record.${record}`, `${name}.sealed.${record}`);
    const key = bytes(`${name}.key.exit`);
    const [back, read] = [new RecordSealer(suite, key), new RecordOpener(suite, key)];
    expectSealed(back, read, 'record.answer', `${name}.sealed.answer`);
  });

  it.each(suites)('%s is rekeyed after 65,536 records', (name, suite) => {
    const key = bytes(`${name}.key.client`);
    const [from, to] = [new RecordSealer(suite, key, 65_535), new RecordOpener(suite, key, 65_535)];
    for (const n of [65_535, 65_536]) expectSealed(from, to, 'record.empty', `${name}.sealed.${n}`);
    const next = bytes(`${name}.key.client.rekeyed`);
    expect(hex(rekey(suite, importCipherKey(key)).export())).toBe(hex(next));
    const [after, reader] = [new RecordSealer(suite, next, 65_536), new RecordOpener(suite, next, 65_536)];
    expectSealed(after, reader, 'record.empty', `${name}.sealed.65536`);
  });

  function expectSealed(from: RecordSealer, to: RecordOpener, content: string, sealed: string): void {
    expect(hex(Buffer.concat(from.seal([bytes(content)]))), sealed).toBe(hex(bytes(sealed)));
    expect(hex(Buffer.concat(to.open([bytes(sealed)]) ?? [])), sealed).toBe(hex(bytes(content)));
  }
});

describe('control messages of appendix A', () => {
  const messages = names.filter((name) => name.startsWith('control.'));

  it.each(messages)('%s is read, and written in the same way', (name) => {
    const message = decodeControl([Buffer.from(text(name))]);
    expect(message?.type).toBe(name.split('.')[1]);
    expect(message && Buffer.concat(encodeControl(message)).toString()).toBe(text(name));
  });

  it('there is one of each type, and one more call', () => {
    expect(messages).toHaveLength(12);
  });
});

describe('appendix A', () => {
  it('has no vector that the tests above and session-vectors.test.ts do not use', () => {
    expect(unused().filter((name) => !isOfSession(name))).toEqual([]);
  });
});
