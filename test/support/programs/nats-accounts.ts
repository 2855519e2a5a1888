/** What `nsc` makes for NATS: an operator, an account with JetStream, and credentials of users, as JWTs. */
import { randomBytes } from 'node:crypto';
import { nkeys } from '@nats-io/transport-node';

const UNLIMITED = { subs: -1, data: -1, payload: -1 };
const ACCOUNT = { ...UNLIMITED, imports: -1, exports: -1, wildcards: true, conn: -1, leaf: -1 };
const JETSTREAM = { mem_storage: -1, disk_storage: -1, streams: -1, consumer: -1 };

type KeyPair = ReturnType<typeof nkeys.createUser>;

export interface NatsAccounts {
  /** For the file of a server. */
  readonly config: string;
  /** As `nsc generate creds` writes it. @param subjects that may be used @param seconds until it expires */
  credsOf(subjects: readonly string[], seconds?: number): string;
}

export function makeAccounts(): NatsAccounts {
  const [operator, system, account] = [nkeys.createOperator(), nkeys.createAccount(), nkeys.createAccount()];
  const [of, sys] = [account.getPublicKey(), system.getPublicKey()];
  const accountOf = (pair: KeyPair, limits: object) =>
    signed(operator, pair, { limits, default_permissions: { pub: {}, sub: {} }, type: 'account' });
  const config = `
    operator: ${signed(operator, operator, { type: 'operator' })}
    system_account: ${sys}
    resolver: MEMORY
    resolver_preload: {
      ${sys}: ${accountOf(system, ACCOUNT)}
      ${of}: ${accountOf(account, { ...ACCOUNT, ...JETSTREAM })}
    }
  `;
  return { config, credsOf: (subjects, seconds) => credsOf(account, subjects, seconds) };
}

function credsOf(account: KeyPair, subjects: readonly string[], seconds?: number): string {
  const user = nkeys.createUser();
  const allow = { allow: subjects };
  const jwt = signed(account, user, { pub: allow, sub: allow, ...UNLIMITED, type: 'user' }, seconds);
  const seed = Buffer.from(user.getSeed()).toString('latin1');
  return `${block('NATS USER JWT', jwt)}\n${block('USER NKEY SEED', seed)}`;
}

function block(title: string, text: string): string {
  return `-----BEGIN ${title}-----\n${text}\n------END ${title}------\n`;
}

function signed(by: KeyPair, subject: KeyPair, nats: object, seconds?: number): string {
  const now = Math.floor(Date.now() / 1000);
  const claims = {
    jti: randomBytes(16).toString('hex'),
    iat: now,
    iss: by.getPublicKey(),
    sub: subject.getPublicKey(),
    name: 'test',
    ...(seconds !== undefined && { exp: now + seconds }),
    nats: { ...nats, version: 2 },
  };
  const texts = [{ typ: 'JWT', alg: 'ed25519-nkey' }, claims];
  const content = texts.map((each) => Buffer.from(JSON.stringify(each)).toString('base64url')).join('.');
  return `${content}.${Buffer.from(by.sign(Buffer.from(content))).toString('base64url')}`;
}
