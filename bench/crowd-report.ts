/** The group `sessions`, its second part: very many sessions at several relays beside those that one relay can have. */
import { type CrowdMeasured, descriptorLimit, runCrowd } from './crowd.ts';
import { sessionsOfRelay } from './crowd-hosts.ts';
import type { Settings } from './measure.ts';
import type { Aim, Row } from './report.ts';
import { quantilesOf } from './statistics.ts';

const SESSIONS = 100_000;
const QUICK_SESSIONS = 2_000;
const QUICK_RELAYS = 2;

/**
 * What ends an attempt although the relay was reached and nobody refused it: the exit was restarted with its relay, or
 * has not come back yet.
 */
const NOT_REFUSED: ReadonlySet<string> = new Set(['session-unknown', 'session-expired', 'exit-absent']);

interface Figure {
  readonly name: string;
  readonly unit: string;
  readonly better?: Row['better'];
  readonly aim?: Aim;
  readonly of: (measured: CrowdMeasured, sessions: number) => number;
}

const itself = (bound: number): Aim => ({ of: 'itself', bound });

const FIGURES: readonly Figure[] = [
  { name: 'memory of all', unit: 'GB', aim: itself(1.5), of: ({ idle }) => idle / 1e9 },
  { name: 'memory of all after the storm', unit: 'GB', of: ({ afterwards }) => afterwards / 1e9 },
  { name: 'memory of all without sessions', unit: 'GB', of: ({ empty }) => empty / 1e9 },
  { name: 'memory of all, each', unit: 'KiB', of: ({ idle }, sessions) => idle / sessions / 1024 },
  {
    name: 'growth, each',
    unit: 'KiB',
    aim: { of: 'baseline', bound: 1.3 },
    of: ({ idle, empty }, sessions) => (idle - empty) / sessions / 1024,
  },
  { name: 'begun', unit: '/s', better: 'higher', of: ({ begin }) => begin.perSecond },
  { name: 'begun by relays and exits, each', unit: 'CPU ms', of: ({ begin }, n) => (begin.hosts / n) * 1000 },
  { name: 'begun by the load, each', unit: 'CPU ms', of: ({ begin }, n) => (begin.load / n) * 1000 },
  { name: 'idle, relays and exits', unit: 'cores', of: ({ idleCores }) => idleCores.hosts },
  { name: 'idle, load', unit: 'cores', of: ({ idleCores }) => idleCores.load },
  { name: 'echo p50', unit: 'ms', of: ({ echo }) => quantilesOf(echo.milliseconds).p50 },
  { name: 'echo p99', unit: 'ms', aim: itself(50), of: ({ echo }) => quantilesOf(echo.milliseconds).p99 },
  { name: 'all are back after', unit: 's', aim: itself(60), of: ({ storm }) => storm.seconds },
  { name: 'back p50', unit: 's', of: ({ storm }) => quantilesOf(storm.milliseconds).p50 / 1000 },
  { name: 'back p99', unit: 's', of: ({ storm }) => quantilesOf(storm.milliseconds).p99 / 1000 },
  { name: 'refused attempts', unit: '', aim: itself(0), of: ({ storm }) => refusals(storm.attempts) },
  { name: 'came back by relays and exits, each', unit: 'CPU ms', of: ({ storm }, n) => (storm.hosts / n) * 1000 },
  { name: 'came back by the load, each', unit: 'CPU ms', of: ({ storm }, n) => (storm.load / n) * 1000 },
];

function refusals(attempts: ReadonlyMap<string, number>): number {
  return [...attempts].reduce((sum, [why, count]) => sum + (NOT_REFUSED.has(why) ? 0 : count), 0);
}

export async function measureCrowds(settings: Settings): Promise<Row[]> {
  const rows: Row[] = [];
  for (const named of [false, true]) rows.push(...(await measureCrowd(settings, named)));
  return rows;
}

async function measureCrowd(settings: Settings, named: boolean): Promise<Row[]> {
  const sessions = settings.sessions ?? (settings.quick ? QUICK_SESSIONS : SESSIONS);
  const most = sessionsOfRelay(descriptorLimit(), named);
  const relays = Math.max(QUICK_RELAYS, Math.ceil(sessions / most));
  const share = Math.ceil(sessions / relays);
  const { workers } = settings;
  const one = await runCrowd(settings, { sessions: share, relays: 1, workers: false, named });
  const all = await runCrowd(settings, { sessions, relays, workers, named });
  const subject = named ? 'wstun, named exit' : 'wstun';
  settings.note(`${subject}, ${sessions} sessions at ${relays} ${workers ? 'workers' : 'relays'}: ${describe(all)}`);
  return FIGURES.map(
    ({ name, unit, better = 'lower', aim, of }): Row => ({
      better,
      ...{ name: `${sessions} idle: ${name}`, subject, suffix: '', unit, baselineName: `one with ${share}` },
      ...{ baseline: [of(one, share)], measured: [of(all, sessions)], aims: aim === undefined ? [] : [aim] },
    }),
  );
}

function describe({ storm, echo }: CrowdMeasured): string {
  const told = [...storm.attempts].sort((a, b) => b[1] - a[1]).map(([why, count]) => `${why}: ${count}`);
  return [
    `${storm.up} came back`,
    `attempts without a session: ${told.join(', ') || 'none'}`,
    `${echo.missing} echoes without an answer`,
    `the load's own delay at the echoes: p99 ${echo.ownDelay.p99.toFixed(0)} ms`,
  ].join('; ');
}
