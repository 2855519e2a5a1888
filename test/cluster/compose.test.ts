/** docs/compose-cluster.yaml: nothing here runs containers, but its commands are to be ones that exist. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { relayCommand } from '../../src/cli/commands/relay.ts';

const FILE = readFileSync(join(import.meta.dirname, '../../docs/compose-cluster.yaml'), 'utf8');

it('the compose file of a cluster has three relays, three NATS servers and two exits, with options that exist', () => {
  const services = [...FILE.matchAll(/^ {2}([\w-]+):\n {4}(?:<<: \*([\w-]+))?/gm)];
  const of = (kind: string) => services.filter(([, , anchor]) => anchor === kind).map(([, name]) => name);
  expect(of('relay')).toEqual(['relay-a', 'relay-b', 'relay-c']);
  expect(of('nats')).toEqual(['n1', 'n2', 'n3']);
  expect(of('exit')).toEqual(['exit-home', 'exit-office']);
  const known = new Set(relayCommand().options.map(({ long }) => long));
  const commands = [...FILE.matchAll(/command: \[relay, (.*)\]/g)];
  expect(commands).toHaveLength(3);
  for (const [, given = ''] of commands)
    for (const word of given.split(', ').filter((each) => each.startsWith('--'))) expect(known).toContain(word);
});
