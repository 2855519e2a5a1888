/**
 * The exit's answer to one DNS message of a client: what the policy allows is asked of the name servers, and what they
 * say is passed on unless it leads where the policy does not: to addresses, and by aliases to names. No more of records
 * is decoded.
 */
import { answerTo, neutralAnswer } from '../../dns/answer.ts';
import { type Asked, failure, forwarded, judge, withOpt } from '../../dns/query.ts';
import { RCODE, readHeader } from '../../dns/wire.ts';
import type { IpBytes } from '../../net/ip.ts';
import type { Rule } from '../rules.ts';
import { addressesIn } from './answer-addresses.ts';
import { namesIn } from './answer-names.ts';
import type { Forwarder } from './forwarder.ts';
import { localAnswer } from './local-answer.ts';
import { decideName, mayShow, nameOf } from './question-policy.ts';

export interface AnswererOptions {
  readonly forwarder: Pick<Forwarder, 'resolve'>;
  /** The addresses of a name that no name server is asked for. */
  readonly localAddresses: (name: string) => readonly IpBytes[] | undefined;
}

export class Answerer {
  constructor(private readonly options: AnswererOptions) {}

  /** Undefined: it is no query, and gets no answer. Never rejects. @param rules of the client, as they are now */
  async answer(message: Uint8Array, rules: readonly Rule[], signal: AbortSignal): Promise<Uint8Array | undefined> {
    const judged = judge(message);
    switch (judged.kind) {
      case 'drop':
        return undefined;
      case 'answer':
        return judged.answer;
      case 'ask':
        return await this.resolve(judged.query, rules, signal);
    }
  }

  private async resolve(query: Asked, rules: readonly Rule[], signal: AbortSignal): Promise<Uint8Array> {
    const name = nameOf(query.question);
    const { isAllowed, isVouched } = decideName(name, rules);
    if (!isAllowed) return failure(query, RCODE.refused);
    const answer = this.local(query, name) ?? (await this.ask(query, signal));
    const addresses = answer && addressesIn(answer);
    const names = answer && namesIn(answer);
    if (answer === undefined || addresses === undefined || names === undefined) return failure(query, RCODE.servFail);
    // Whoever has a zone can make an alias of any name in it, and ask for that.
    const isOpen =
      addresses.every((ip) => mayShow(ip, rules)) && [...names].every((each) => decideName(each, rules).isAllowed);
    if (!isVouched && !isOpen) return failure(query, RCODE.refused);
    return answerTo(query, answer, { ageS: 0, over: 'tcp' });
  }

  private local({ question, spelling }: Asked, name: string): Uint8Array | undefined {
    const addresses = this.options.localAddresses(name);
    return addresses && localAnswer(question, spelling, addresses);
  }

  /** Undefined: no name server has an answer. */
  private async ask(query: Asked, signal: AbortSignal): Promise<Uint8Array | undefined> {
    const plain = forwarded(query, 0);
    // Our own EDNS: what the client had in its own, such as its network (RFC 7871), is not for others.
    const extended = query.wantsDnssec ? plain : withOpt(plain, 0, query);
    const found = await this.options.forwarder.resolve({ query: extended, plain }, signal).catch(() => undefined);
    const answer = found && neutralAnswer(found, query.question);
    const code = answer && readHeader(answer)?.rcode;
    return code === RCODE.noError || code === RCODE.nxDomain ? answer : undefined;
  }
}
