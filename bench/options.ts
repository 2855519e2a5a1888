/** The command line of the benchmark. */
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { Settings } from './measure.ts';
import { findNodes } from './nodes.ts';

const USAGE = (groups: readonly string[]): string => `npm run bench -- [GROUP]… [OPTION]…

  GROUP              ${groups.join(', ')}; default: all
  --rounds N         runs of each subject for each case (default 7; 3 with --quick)
  --quick            six minutes, less exact
  --node PATH        the Node that runs wstun and the floor; again, or with commas, for several
  --peers            wstunnel, chisel, penguin and ssh -D as well, those that are on PATH
  --sessions N       how many idle sessions \`sessions\` has (default 100000; 2000 with --quick)
  --workers          these sessions are at the workers of one relay, not at relays of their own
  --json FILE        writes every round's numbers
  --results FILE     writes the tables of bench/RESULTS.md
  --from FILE        measures nothing: the numbers are those of an earlier --json
  --profile down:1   profiles that throughput case instead
  --straight         the load goes to the forwarders without SOCKS5
  --wstun FILE       measures that bin/wstun.js instead of this repository's
  --against FILE     compares with that bin/wstun.js instead of with the forwarders
`;

const WSTUN = fileURLToPath(new URL('../../bin/wstun.js', import.meta.url));

export interface Options {
  readonly groups: readonly string[];
  readonly settings: Omit<Settings, 'note'>;
  readonly profile: string | undefined;
  readonly json: string | undefined;
  readonly results: string | undefined;
  readonly from: string | undefined;
  /** What to print instead of doing anything. */
  readonly usage: string | undefined;
}

/** `known`: the groups that there are. */
export async function readOptions(known: readonly string[]): Promise<Options> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      rounds: { type: 'string' },
      quick: { type: 'boolean', default: false },
      node: { type: 'string', multiple: true, default: [] },
      peers: { type: 'boolean', default: false },
      sessions: { type: 'string' },
      workers: { type: 'boolean', default: false },
      json: { type: 'string' },
      results: { type: 'string' },
      from: { type: 'string' },
      profile: { type: 'string' },
      straight: { type: 'boolean', default: false },
      wstun: { type: 'string', default: WSTUN },
      against: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  const rounds = Number(values.rounds ?? (values.quick ? 3 : 7));
  if (!Number.isInteger(rounds) || rounds < 1) throw new Error('--rounds takes a number from 1');
  const sessions = values.sessions === undefined ? undefined : Number(values.sessions);
  if (sessions !== undefined && !(Number.isInteger(sessions) && sessions >= 100))
    throw new Error('--sessions takes a number from 100');
  for (const name of positionals)
    if (!known.includes(name)) throw new Error(`no group ${name}; there are ${known.join(', ')}`);
  const { quick, workers, straight, wstun, against, peers, profile, json, results, from } = values;
  const nodes = await findNodes(values.node);
  return {
    groups: positionals.length > 0 ? positionals : known,
    settings: { rounds, quick, sessions, workers, straight, wstun, against, peers, nodes },
    ...{ profile, json, results, from },
    usage: values.help ? USAGE(known) : undefined,
  };
}
