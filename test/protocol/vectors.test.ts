/** Every test vector of docs/protocol.md, appendix A, checked with the code that goes into the product. */
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
import type { MuxEvent } from '../../src/mux/events.ts';
import type { SessionLink } from '../../src/mux/links/session-link.ts';
import { RecordEncoder } from '../../src/protocol/frame-encoder.ts';
import {
  type Acknowledgement,
  decodeRecordHeader,
  encodeRecordHeader,
  type RecordHeader,
} from '../../src/protocol/record-header.ts';
import { UNSPECIFIED } from '../../src/protocol/services.ts';
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
import { OneLinkSession } from '../support/mux/one-link-session.ts';
import { readVectors } from '../support/mux/vectors.ts';
import { ipTarget } from '../support/net/targets.ts';

const random = vi.hoisted<Uint8Array[]>(() => []);

/** Nonces that are otherwise drawn at random are those of the page, as long as there are any. */
vi.mock('node:crypto', async (original) => {
  const real = await original<typeof import('node:crypto')>();
  return { ...real, randomBytes: (bytes: number) => random.shift() ?? real.randomBytes(bytes) };
});

const { bytes, text, number, names, unused } = readVectors('docs/protocol.md');

const ID = Buffer.from(Array.from({ length: 16 }, (_, i) => i));
const hex = (data: Uint8Array): string => Buffer.from(data).toString('hex');

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

describe('the resumption of appendix A', () => {
  /** One end of it: the product's, which is given the other end's records of the page. */
  class End {
    readonly session: OneLinkSession;
    readonly events: MuxEvent[] = [];

    constructor(role: 'client' | 'exit') {
      // The HELLOs of the page offer one link.
      this.session = OneLinkSession.of({ role, maxLinks: 1 });
      this.session.attach(0, 0, 0);
    }

    read(name: string, now: number): void {
      this.session.receive([bytes(name)], now);
      for (let event = this.session.mux.pollEvent(); event; event = this.session.mux.pollEvent())
        this.events.push(event);
    }

    send(now: number): Content {
      return contentOf(Buffer.concat(this.session.pollMessage(now) ?? []));
    }
  }

  interface Content {
    readonly isNumbered: boolean | undefined;
    readonly acknowledged: Acknowledgement | undefined;
    readonly frames: string;
  }

  /** All but PING, PONG and the flag `may wait`, for which each end has its own rules. */
  function contentOf(record: Buffer): Content {
    const decoded = decodeRecordHeader([record]);
    const frames: string[] = [];
    for (let at = decoded?.bytes ?? 0; at < record.length; ) {
      const end = at + 8 + record.readUIntBE(at + 1, 3);
      if (record[at] !== 0x08 && record[at] !== 0x09) frames.push(hex(record.subarray(at, end)));
      at = end;
    }
    const { isNumbered, acknowledged } = decoded?.header ?? {};
    return { isNumbered, acknowledged, frames: frames.join('') };
  }

  const requestOf = (name: string) => decodeSessionRequest([bytes(name)]);
  const answerOf = (name: string) => decodeSessionAnswer([bytes(name)]);

  it('an exit does what the page says, when it reads what the client of the page sends', () => {
    const exit = new End('exit');
    expect(requestOf('resume.a.client.request')).toEqual({ kind: 'begin', id: Uint8Array.from(ID), received: 0 });
    expect(answerOf('resume.a.exit.answer')).toEqual({ received: exit.session.received });
    exit.read('resume.a.client.1', 20);
    expect(exit.session.mux.accept(1, 20)).toBe(true);
    expect(exit.send(20)).toEqual(contentOf(bytes('resume.a.exit.1')));
    exit.read('resume.a.client.2', 50);
    expect(exit.events).toContainEqual({ type: 'data', stream: 1, bytes: Buffer.from('ping') });
    exit.session.mux.write(1, Buffer.from('pong'));
    expect(exit.send(50)).toEqual(contentOf(bytes('resume.a.exit.2')));

    exit.session.lose(60);
    const request = requestOf('resume.b.client.request');
    expect(request?.kind).toBe('resume');
    expect(answerOf('resume.b.exit.answer')).toEqual({ received: exit.session.received });
    expect(exit.session.attach(request?.received ?? 0, exit.session.received, 800)).toBeDefined();
    expect(exit.send(800)).toEqual(contentOf(bytes('resume.b.exit.2')));
    exit.send(800); // a PING
    exit.read('resume.b.client.3', 900);
    expect(exit.events).toContainEqual({ type: 'finish', stream: 1 });
    exit.session.mux.finish(1);
    expect(exit.send(900)).toEqual(contentOf(bytes('resume.b.exit.3')));
    expect(exit.session.received).toBe(3);
  });

  it('a client does what the page says, when it reads what the exit of the page sends', () => {
    const client = new End('client');
    expect(client.session.mux.open(ipTarget('192.0.2.1', 443), 0)).toEqual({ stream: 1 });
    expect(client.send(0)).toEqual(contentOf(bytes('resume.a.client.1')));
    client.read('resume.a.exit.1', 30);
    client.session.mux.write(1, Buffer.from('ping'));
    const { frames } = contentOf(bytes('resume.a.client.2'));
    expect(client.send(30).frames).toBe(frames);
    client.session.mux.finish(1);
    const last = contentOf(bytes('resume.a.client.3'));
    expect(client.send(30).frames).toBe(last.frames);

    client.session.lose(60);
    expect(requestOf('resume.b.client.request')).toMatchObject({ kind: 'resume', received: client.session.received });
    const answer = answerOf('resume.b.exit.answer');
    expect(client.session.attach(answer && 'received' in answer ? answer.received : 0, 1, 800)).toBeDefined();
    expect(client.send(800)).toEqual(contentOf(bytes('resume.b.client.3')));
    client.send(800); // a PING
    client.read('resume.b.exit.2', 940);
    expect(client.events).toContainEqual({ type: 'data', stream: 1, bytes: Buffer.from('pong') });
    client.read('resume.b.exit.3', 950);
    expect(client.events).toContainEqual({ type: 'finish', stream: 1 });
    expect(client.send(950)).toEqual(contentOf(bytes('resume.b.client.acknowledgement')));
    expect(client.session.fits(3)).toBe(true);
  });

  it('an exit gives the datagrams of the page positions and no numbers', () => {
    const exit = new End('exit');
    const acknowledged = (name: string) => ({ acknowledged: contentOf(bytes(name)).acknowledged });
    exit.read('datagrams.a.client.1', 20);
    expect(exit.send(20)).toEqual(contentOf(bytes('datagrams.a.exit.1')));
    exit.read('datagrams.a.client.2', 35);
    exit.read('datagrams.a.client.3', 40);
    expect(exit.session.mux.accept(7, 40)).toBe(true);
    expect(exit.send(40)).toEqual(contentOf(bytes('datagrams.a.exit.2')));
    exit.read('datagrams.a.client.4', 55);
    exit.read('datagrams.a.client.5', 60);
    expect(exit.send(60)).toMatchObject(acknowledged('datagrams.a.exit.acknowledgement'));

    exit.session.lose(70);
    const request = requestOf('datagrams.b.client.request');
    expect(answerOf('datagrams.b.exit.answer')).toEqual({ received: exit.session.received });
    exit.session.attach(request?.received ?? -1, exit.session.received, 75);
    exit.send(75); // PING and PONG
    exit.read('datagrams.b.client.1', 80);
    exit.read('datagrams.b.client.2', 90);
    expect(exit.send(90)).toMatchObject(acknowledged('datagrams.b.exit.acknowledgement'));
    const datagram = { type: 'datagram', stream: 7, address: ipTarget('192.0.2.1', 53), content: Buffer.from('ping') };
    expect(exit.events.filter(({ type }) => type === 'datagram')).toEqual([datagram, datagram, datagram]);
    expect(exit.session.received).toBe(4);
  });

  it('a client knows by the acknowledgements of the page which of its numbered records have arrived', () => {
    const client = new End('client');
    const { mux } = client.session;
    const address = ipTarget('192.0.2.1', 53);
    const sendDatagram = (now: number) => mux.sendDatagram(7, Buffer.from('ping'), address, now);
    expect(client.send(0)).toEqual(contentOf(bytes('datagrams.a.client.1')));
    client.read('datagrams.a.exit.1', 30);
    // The page has stream 7.
    for (let id = 1; id < 7; id += 2) mux.open(ipTarget('192.0.2.1', 443), 30);
    expect(mux.open(UNSPECIFIED, 30, { service: 'udp' })).toEqual({ stream: 7 });
    expect(client.send(30).frames).toContain(hex(bytes('frame.open.udp')));
    sendDatagram(30);
    expect(client.send(30)).toEqual(contentOf(bytes('datagrams.a.client.3')));
    client.read('datagrams.a.exit.2', 50);
    sendDatagram(50);
    expect(client.send(50)).toEqual(contentOf(bytes('datagrams.a.client.4')));
    mux.pingNow();
    expect(client.send(50).isNumbered).toBe(true);
    client.read('datagrams.a.exit.acknowledgement', 65);
    expect(client.session.retransmitBytes).toBe(0);

    client.session.lose(70);
    client.session.attach(3, 2, 75);
    sendDatagram(75);
    expect(client.send(75)).toEqual(contentOf(bytes('datagrams.b.client.1')));
    mux.finish(7);
    expect(client.send(75)).toEqual(contentOf(bytes('datagrams.b.client.2')));
    client.read('datagrams.b.exit.acknowledgement', 100);
    expect([client.session.retransmitBytes, mux.isOver]).toEqual([0, false]);
  });
});

describe('the links of appendix A', () => {
  it('the request to join and its answers are written and read as the page says', () => {
    const request = { kind: 'join', id: ID, received: 0 } as const;
    expect(hex(encodeSessionRequest(request))).toBe(hex(bytes('links.b.client.request')));
    expect(decodeSessionRequest([bytes('links.b.client.request')])).toEqual({ ...request, id: Uint8Array.from(ID) });
    expect(hex(encodeSessionAnswer({ received: 1 }))).toBe(hex(bytes('links.b.exit.answer')));
    expect(hex(encodeSessionAnswer({ fault: 'too-many-links' }))).toBe(hex(bytes('links.b.exit.answer.too-many')));
    expect(decodeSessionAnswer([bytes('links.b.exit.answer.too-many')])).toEqual({ fault: 'too-many-links' });
  });

  const plain = { isNumbered: true, mayWait: false, isLast: false, acknowledged: undefined };
  const second = { number: 2, floor: 1, followed: [] };
  const headers: [string, RecordHeader][] = [
    ['links.b.client.1', { ...plain, placement: second }],
    ['links.a.client.2', { ...plain, placement: { number: 3, floor: 1, followed: [] } }],
    ['links.a.client.3', { ...plain, placement: { number: 4, floor: 1, followed: [2] } }],
    ['links.a.client.4', { ...plain, placement: second }],
    ['links.piece.1', { ...plain, placement: second, piece: { offset: 0, total: 10 } }],
    ['links.piece.2', { ...plain, placement: second, piece: { offset: 6, total: 10 } }],
    ['links.last', { ...plain, isLast: true }],
  ];

  it.each(headers)('the header of %s is written and read as the page says', (name, header) => {
    const decoded = decodeRecordHeader([bytes(name)]);
    expect(decoded?.header).toEqual(header);
    expect(hex(encodeRecordHeader(header))).toBe(hex(bytes(name).subarray(0, decoded?.bytes)));
  });

  /** An exit with both links, which has the first record of the page. */
  function start() {
    const exit = OneLinkSession.of({ role: 'exit' });
    const a = exit.attach(0, 0, 0);
    exit.receive([bytes('links.a.client.1')], 10);
    for (const stream of [1, 3]) exit.mux.accept(stream, 10);
    const answer = decodeSessionAnswer([bytes('links.b.exit.answer')]);
    expect(answer).toEqual({ received: exit.received });
    const b = exit.join(decodeSessionRequest([bytes('links.b.client.request')])?.received ?? -1, 20);
    if (a === undefined || b === undefined) throw new Error('no link');
    while (exit.poll(30) !== undefined);
    const read = (link: SessionLink, name: string, now: number): string[] => {
      exit.handleMessage(link, [bytes(name)], now);
      const events: MuxEvent[] = [];
      for (let event = exit.mux.pollEvent(); event; event = exit.mux.pollEvent()) events.push(event);
      return events.flatMap((event) => (event.type === 'data' ? `${event.stream} ${Buffer.from(event.bytes)}` : []));
    };
    return { exit, a, b, read };
  }

  it('an exit hands each record on as soon as the page says, and acknowledges what came on its link', () => {
    const { exit, a, b, read } = start();
    expect(read(a, 'links.a.client.2', 40)).toEqual(['3 three']);
    expect(read(a, 'links.a.client.3', 45)).toEqual([]);
    expect(exit.received).toBe(1);
    expect(read(a, 'links.a.client.4', 50)).toEqual(['1 pi', '1 ng']);
    expect(exit.received).toBe(4);
    const told = exit.poll(51);
    expect(told?.link).toBe(a);
    expect(hex(Buffer.concat(told?.message ?? []))).toBe(hex(bytes('links.a.exit.acknowledgement')));
    expect(read(b, 'links.b.client.1', 60)).toEqual([]);
    expect(read(b, 'links.last', 60)).toEqual([]);
    expect([exit.received, b.isPeerLeaving, exit.mux.isOver]).toEqual([4, true, false]);
  });

  it('an exit hands a record on when its last piece has come', () => {
    const { a, b, read } = start();
    expect(read(a, 'links.piece.2', 40)).toEqual([]);
    expect(read(b, 'links.piece.2', 40)).toEqual([]);
    expect(read(b, 'links.piece.1', 40)).toEqual(['1 pi']);
    expect(read(a, 'links.a.client.4', 50)).toEqual([]);
  });
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
  it('has no vector that the tests above do not use', () => {
    expect(unused()).toEqual([]);
  });
});
