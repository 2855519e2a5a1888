import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fullNamesOf, parseSearchList } from '../../src/exit/search-list.ts';
import { parseHostText } from '../../src/exit/target-host.ts';

function parse(text: string, env: Record<string, string> = {}, hostname = 'exit'): string {
  const { domains, ndots } = parseSearchList(text, { env, hostname });
  return [...domains, ndots].join(' ');
}

describe('the search list of resolv.conf', () => {
  it.each([
    ['', '1'],
    ['search corp.example lab.example', 'corp.example lab.example 1'],
    ['domain corp.example', 'corp.example 1'],
    ['domain corp.example ignored.example', 'corp.example 1'],
    ['search a.example\ndomain b.example', 'b.example 1'],
    ['domain b.example\nsearch a.example c.example', 'a.example c.example 1'],
    ['search a.example\nsearch\n', 'a.example 1'],
    ['search\tCORP.Example.\t \tlab.example  \r\nnameserver 10.0.0.1', 'corp.example lab.example 1'],
    ['# search a.example\n;search b.example\n search c.example\nsearch.d.example', '1'],
    ['search .', '1'],
    ['search a.example -b.example 10.0.0.1 c..d [::1] ü.example', 'a.example 1'],
    ['search 1.a 2.a 3.a 4.a 5.a 6.a 7.a 8.a', '1.a 2.a 3.a 4.a 5.a 6.a 1'],
    ['options timeout:1 ndots:5 rotate', '5'],
    ['options ndots:0', '0'],
    ['options ndots:99', '15'],
    ['options ndots:x ndots: ndots:-1', '1'],
    ['options ndots:2\noptions edns0', '2'],
  ])('parseSearchList reads %j as %s', (text, list) => expect(parse(text)).toBe(list));

  it('$LOCALDOMAIN and $RES_OPTIONS override the search list of resolv.conf', () => {
    const text = 'search a.example\noptions ndots:3';
    expect(parse(text, { LOCALDOMAIN: 'b.example c.example', RES_OPTIONS: 'ndots:2' })).toBe('b.example c.example 2');
    expect(parse(text, { LOCALDOMAIN: '' })).toBe('3');
  });

  it('without a line the search list is the domain of the host’s own name', () => {
    expect(parse('', {}, 'exit.corp.example')).toBe('corp.example 1');
    expect(parse('search a.example', {}, 'exit.corp.example')).toBe('a.example 1');
    expect(parse('search .', {}, 'exit.corp.example')).toBe('1');
  });

  it('parseSearchList returns at most six names for any text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 300 }), fc.string({ maxLength: 40 }), (text, hostname) => {
        const { domains, ndots } = parseSearchList(`search ${text}\noptions ${text}`, { env: {}, hostname });
        expect(domains.length).toBeLessThanOrEqual(6);
        expect(ndots).toBeLessThanOrEqual(15);
        for (const name of domains) expect(parseHostText(name)).toEqual({ kind: 'name', name });
      }),
      { seed: 1129, numRuns: 300 },
    );
  });
});

describe('full names', () => {
  const names = (name: string, ndots = 1, ...domains: string[]) =>
    fullNamesOf(name, { domains: domains.length > 0 ? domains : ['a.example', 'b.example'], ndots });

  it('the full names of a single label are below the domains first, then the label', () => {
    expect(names('wiki')).toEqual(['wiki.a.example', 'wiki.b.example', 'wiki']);
    expect(names('wiki', 0)).toEqual(['wiki', 'wiki.a.example', 'wiki.b.example']);
  });

  it('the full names of a name with dots are below the domains only if ndots says so', () => {
    expect(names('www.example')).toEqual(['www.example']);
    expect(names('svc.ns', 2)).toEqual(['svc.ns.a.example', 'svc.ns.b.example', 'svc.ns']);
    expect(names('svc.ns.x', 2)).toEqual(['svc.ns.x']);
  });

  it('names that must not reach the DNS have no full names below a domain', () => {
    for (const name of ['localhost', 'x.localhost', 'x.onion', 'metadata.google.internal', 'printer.local']) {
      expect(names(name, 15)).toEqual([name]);
    }
    expect(names('intranet')).toEqual(['intranet.a.example', 'intranet.b.example', 'intranet']);
  });

  it('full names that would be too long are omitted', () => {
    const domain = `${`${'d'.repeat(60)}.`.repeat(4)}example`;
    expect(names('a', 1, domain)).toEqual([`a.${domain}`, 'a']);
    expect(names('a'.repeat(63), 1, domain)).toEqual(['a'.repeat(63)]);
  });

  it('the full names are at most seven valid names without duplicates, and include the name itself', () => {
    const label = fc.stringMatching(/^[a-z0-9_][a-z0-9-]{0,20}$/);
    const text = fc.array(label, { minLength: 1, maxLength: 6 }).map((labels) => `${labels.join('.')}.x`);
    fc.assert(
      fc.property(text, fc.uniqueArray(text, { maxLength: 6 }), fc.nat(15), (name, domains, ndots) => {
        const full = fullNamesOf(name, { domains, ndots });
        expect(full).toContain(name);
        expect(full.length).toBeLessThanOrEqual(7);
        expect(new Set(full).size).toBe(full.length);
        for (const each of full) expect(parseHostText(each)).toEqual({ kind: 'name', name: each });
      }),
      { seed: 1129, numRuns: 300 },
    );
  });
});
