/**
 * What to answer to the challenges of a proxy in one attempt at a tunnel: a state machine. Pure: random bytes and time
 * are passed in. It sends nothing, and reads no file.
 */
import { type Challenge, parseChallenges } from './challenges.ts';
import { answerDigest, isStale, strongestDigest } from './digest.ts';
import { ntlmAuthenticate, ntlmNegotiate, readNtlmChallenge } from './ntlm.ts';
import type { ProxyCredentials } from './proxy-credentials.ts';

/** Times that a proxy may call a nonce stale, and that a command is asked, in one attempt. */
const MAX_STALE = 2;
const MAX_COMMANDS = 3;

export type AuthenticationStep =
  /** Send this as Proxy-Authorization. `sameConnection`: the scheme authenticates the connection. */
  | { readonly kind: 'answer'; readonly header: string; readonly sameConnection: boolean }
  /** The command must give the value of Proxy-Authorization. */
  | { readonly kind: 'ask-command'; readonly challenge: Challenge }
  /** Nothing here can answer any of `schemes`. */
  | { readonly kind: 'cannot'; readonly schemes: readonly string[] }
  /** It wants the password itself, which it has not needed before. */
  | { readonly kind: 'weaker' }
  /** What was sent is rejected. */
  | { readonly kind: 'rejected'; readonly scheme: string };

export interface AuthenticationOptions {
  readonly credentials?: ProxyCredentials | undefined;
  readonly hasCommand: boolean;
  /** False: Basic is not answered. Default: true. */
  readonly mayBasic?: boolean;
  /** The request target of CONNECT. */
  readonly uri: string;
  readonly random: (bytes: number) => Buffer;
  /** Milliseconds since 1970. */
  readonly time: () => number;
}

/** By rank, as curl chooses; all others, Negotiate above all, are for the command. */
const OWN: readonly string[] = ['digest', 'ntlm', 'basic'];

export class ProxyAuthentication {
  /** What was answered last. */
  private sent: 'basic' | 'digest' | 'ntlm-negotiate' | 'ntlm' | 'command' | undefined;
  private stale = 0;
  private commands = 0;

  constructor(private readonly options: AuthenticationOptions) {}

  /** Credentials have been sent whole: a 407 now means that they are wrong, a 200 that they are right. */
  get hasSentCredentials(): boolean {
    return this.sent === 'basic' || this.sent === 'digest' || this.sent === 'ntlm';
  }

  /** What has been sent proves the password, and does not show it. */
  get hasSentProof(): boolean {
    return this.sent === 'digest' || this.sent === 'ntlm';
  }

  /** A 407. @param values of its Proxy-Authenticate fields */
  handleChallenges(values: readonly string[]): AuthenticationStep {
    const challenges = parseChallenges(values);
    switch (this.sent) {
      case undefined:
        return this.choose(challenges);
      case 'ntlm-negotiate':
        return this.continueNtlm(challenges);
      case 'digest':
        return this.afterDigest(challenges);
      case 'command':
        return this.again(challenges);
      case 'basic':
      case 'ntlm':
        return { kind: 'rejected', scheme: this.sent };
      default:
        return this.sent satisfies never;
    }
  }

  private choose(challenges: readonly Challenge[]): AuthenticationStep {
    const foreign = byRank(challenges).find(({ scheme }) => !isOwn(scheme));
    if (this.options.hasCommand && (foreign !== undefined || this.options.credentials === undefined))
      return this.askCommand(challenges);
    const digest = strongestDigest(challenges);
    if (this.options.credentials !== undefined) {
      if (digest !== undefined) return this.sendDigest(digest, this.options.credentials);
      if (challenges.some(({ scheme }) => isNtlm(scheme))) return this.beginNtlm();
      if (challenges.some(({ scheme }) => scheme.toLowerCase() === 'basic'))
        return this.options.mayBasic === false ? { kind: 'weaker' } : this.sendBasic();
    }
    if (this.options.hasCommand) return this.askCommand(challenges);
    return { kind: 'cannot', schemes: [...new Set(challenges.map(({ scheme }) => scheme))] };
  }

  private askCommand(challenges: readonly Challenge[]): AuthenticationStep {
    const [challenge] = byRank(challenges);
    if (challenge === undefined) return { kind: 'cannot', schemes: [] };
    this.sent = 'command';
    this.commands += 1;
    return { kind: 'ask-command', challenge };
  }

  /** A scheme may have several legs. */
  private again(challenges: readonly Challenge[]): AuthenticationStep {
    if (this.commands < MAX_COMMANDS && challenges.length > 0) return this.askCommand(challenges);
    return { kind: 'rejected', scheme: 'command' };
  }

  private sendBasic(): AuthenticationStep {
    const { credentials } = this.options;
    this.sent = 'basic';
    const pair = `${credentials?.exposeUser()}:${credentials?.exposePassword()}`;
    return { kind: 'answer', header: `Basic ${Buffer.from(pair).toString('base64')}`, sameConnection: false };
  }

  private sendDigest(challenge: Challenge, credentials: ProxyCredentials): AuthenticationStep {
    this.sent = 'digest';
    const { uri, random } = this.options;
    const header = answerDigest(challenge, credentials, { method: 'CONNECT', uri, cnonce: random(16).toString('hex') });
    return { kind: 'answer', header, sameConnection: false };
  }

  private afterDigest(challenges: readonly Challenge[]): AuthenticationStep {
    const digest = strongestDigest(challenges);
    const { credentials } = this.options;
    if (credentials === undefined || digest === undefined || !isStale(digest) || this.stale >= MAX_STALE)
      return { kind: 'rejected', scheme: 'digest' };
    this.stale += 1;
    return this.sendDigest(digest, credentials);
  }

  private beginNtlm(): AuthenticationStep {
    this.sent = 'ntlm-negotiate';
    return { kind: 'answer', header: `NTLM ${ntlmNegotiate()}`, sameConnection: false };
  }

  private continueNtlm(challenges: readonly Challenge[]): AuthenticationStep {
    const { credentials, random, time } = this.options;
    const token = challenges.find(({ scheme }) => isNtlm(scheme))?.token ?? '';
    const challenge = readNtlmChallenge(token);
    if (challenge === undefined || credentials === undefined) return { kind: 'cannot', schemes: ['NTLM'] };
    this.sent = 'ntlm';
    const message = ntlmAuthenticate(challenge, credentials, { time: time(), clientChallenge: random(8) });
    return { kind: 'answer', header: `NTLM ${message}`, sameConnection: true };
  }
}

function isNtlm(scheme: string): boolean {
  return scheme.toLowerCase() === 'ntlm';
}

function isOwn(scheme: string): boolean {
  return OWN.includes(scheme.toLowerCase());
}

/** Foreign ones first: a command is given for their sake. */
function byRank(challenges: readonly Challenge[]): Challenge[] {
  const rank = ({ scheme }: Challenge): number => OWN.indexOf(scheme.toLowerCase());
  return [...challenges].sort((a, b) => rank(a) - rank(b));
}
