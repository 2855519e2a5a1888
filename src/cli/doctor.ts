/** `wstun doctor`: a line for each check as it is over, what it all means, and the report. */
import { type DoctorOptions, diagnose } from '../app/doctor.ts';
import { Profiles } from '../app/profiles.ts';
import type { ProxyOptions } from '../app/proxy-options.ts';
import type { Check } from '../doctor/checks.ts';
import { WstunError } from '../errors.ts';
import type { HostPort } from '../net/host-port.ts';
import { defaultStateDir } from '../state/default-dir.ts';
import type { Settled } from './config/settle.ts';
import { type GivenOptions, type Report, reportOf, writeReport } from './doctor-report.ts';
import { TITLES } from './doctor-titles.ts';
import { findInvite, type InviteOptions } from './find-invite.ts';
import { parseHostPort } from './options.ts';
import { seconds } from './outage-report.ts';
import { Output, type OutputOptions, printLine, printText } from './output.ts';
import { proxyOptions } from './proxy-options.ts';
import { type ReachTexts, reachOptions } from './reach-options.ts';
import { markTold } from './told.ts';

type Findings = Awaited<ReturnType<typeof diagnose>>;

interface DoctorCommand
  extends InviteOptions,
    ProxyOptions,
    ReachTexts,
    Pick<DoctorOptions, 'transport' | 'encryption'> {
  readonly listen: HostPort;
}

/** Its own options. */
interface OwnOptions extends OutputOptions {
  readonly target?: string;
  readonly idle?: string;
  readonly report?: string;
}

/** Longer than a day is no test of a network, seconds. */
const MAX_IDLE_S = 86_400;

/**
 * Ends the process. @param settled what a client would run with. @param pasted the arguments, joined
 * @throws WstunError the fault that was found, or one of the options
 */
export async function runDoctor(settled: Settled, own: OwnOptions, pasted: string | undefined): Promise<void> {
  const ofClient = settled.options as Omit<DoctorCommand, 'invite'> & Partial<Pick<DoctorCommand, 'invite'>>;
  const { target: targetText, idle, report: file, json, verbose } = own;
  const options: DoctorCommand = { ...ofClient, invite: pasted ?? ofClient.invite };
  // Its own lines say what a log would.
  const output = new Output({ json, verbose, quiet: true });
  for (const warning of settled.warnings) output.logger.warn({}, warning);
  const target = targetText === undefined ? undefined : parseTarget(targetText);
  const idleMs = idle === undefined ? undefined : parseIdle(idle);
  const given: GivenOptions = {
    ...options,
    target: targetText,
    idle,
    hasHeaders: (options.header ?? process.env.WSTUN_HEADERS) !== undefined,
  };
  const state = defaultStateDir('client', process.env);
  const invite = (await findInvite(options)) ?? (await new Profiles(state).choose(undefined))?.invite;
  if (invite === undefined) throw new WstunError('invite-missing');
  const say = (line: string): void => {
    if (!output.json) printText(line);
  };
  const marks = marksOf(process.env);
  const findings = await diagnose({
    ...reachOptions(options),
    ...proxyOptions(options),
    ...{ invite, listen: options.listen, state },
    ...(options.transport && { transport: options.transport }),
    ...(options.encryption && { encryption: options.encryption }),
    ...(target && { target }),
    ...(idleMs !== undefined && { idleMs }),
    onCheck: (check) => say(lineOf(check, marks)),
    onWaiting: (name, forMs) => say(`  … ${TITLES[name]}: ${seconds(forMs)} so far`),
    logger: output.logger,
  });
  const report = reportOf(findings, given, process.env);
  if (output.json) printLine(JSON.stringify(report.result));
  else for (const line of verdictLines(findings, marks)) printText(line);
  if (file !== undefined) await saveReport(file, report, say);
  await end(findings);
}

/** Name look-ups of the system may still be under way, which nothing can cancel. */
async function end({ fault }: Findings): Promise<never> {
  if (fault !== undefined) {
    markTold(fault);
    throw fault;
  }
  await new Promise<void>((resolve) => process.stdout.write('', () => resolve()));
  process.exit(0);
}

async function saveReport(file: string, report: Report, say: (line: string) => void): Promise<void> {
  await writeReport(file, report);
  say(
    `\nThe report is in ${file}; only you can read it. It has: versions, this system, the options given, the names of`,
  );
  say('environment variables, all checks and their errors, with names and addresses of relay, proxies and target.');
  say('It has no invite, key, ticket, password or user name. Read it before you send it to anyone.');
}

// ── texts ────────────────────────────────────────────────────────────────────────────────────────────────────────────

interface Marks {
  readonly ok: string;
  readonly failed: string;
  readonly skipped: string;
  readonly arrow: string;
}

const UNICODE: Marks = { ok: '✔', failed: '✖', skipped: '–', arrow: '→' };
const ASCII: Marks = { ok: '+', failed: 'x', skipped: '-', arrow: '->' };

/** By the locale of the environment (POSIX: the first of three that is set). Windows has no such variables. */
function marksOf({ LC_ALL, LC_CTYPE, LANG }: NodeJS.ProcessEnv): Marks {
  const locale = [LC_ALL, LC_CTYPE, LANG].find((value) => value !== undefined && value !== '');
  if (locale === undefined) return process.platform === 'win32' || process.platform === 'darwin' ? UNICODE : ASCII;
  return /utf-?8/i.test(locale) ? UNICODE : ASCII;
}

const TITLE_WIDTH = 15;

function lineOf({ name, state, ms, place, detail, error }: Check, marks: Marks): string {
  const code = error === undefined ? '' : ` (${error.code})`;
  const text = [place, detail].filter((part) => part !== '').join(': ');
  const time = state === 'skipped' || ms === 0 ? '' : `  ${ms} ms`;
  return `${marks[state]} ${TITLES[name].padEnd(TITLE_WIDTH)}${text}${code}${time}`;
}

function verdictLines({ fault, remark, through, isDetour, ms }: Findings, marks: Marks): readonly string[] {
  const found = fault ?? remark;
  const cause = found === undefined ? [] : [`${marks.failed} ${found.what} (${found.code})`];
  const fix = found === undefined || found.fix === '' ? [] : [`${marks.arrow} ${found.fix}`];
  const works = isDetour ? `gets through ${describeThrough(through)}` : 'gets through';
  if (fault === undefined) return ['', ...cause, ...fix, `${marks.ok} wstun client ${works}. (${seconds(ms)})`];
  const link = through === undefined ? 'does not get through' : `${works}, but not everything works`;
  return ['', `wstun client ${link}. (${seconds(ms)})`, ...cause, ...fix];
}

function describeThrough(through: Findings['through']): string {
  if (through === undefined) return '';
  const { relay, route } = through;
  const by = route.carrier === 'http' ? 'by HTTP requests' : 'by WebSocket';
  const path = route.proxy === undefined ? 'directly' : `through proxy ${route.proxy.name}`;
  return `to ${new URL(relay).host} ${path} ${by}`;
}

// ── options ──────────────────────────────────────────────────────────────────────────────────────────────────────────

function parseTarget(text: string): NonNullable<DoctorOptions['target']> {
  if (!/^https?:\/\//i.test(text)) return { ...parsePlace(text), isUsual: false };
  if (!URL.canParse(text)) throw badTarget();
  const url = new URL(text);
  // Where a report is sent, a password would be sent, too.
  if (url.username !== '' || url.password !== '') throw badTarget();
  const tls = url.protocol === 'https:';
  const port = url.port === '' ? (tls ? 443 : 80) : Number(url.port);
  const host = url.hostname.replace(/^\[|\]$/g, '');
  return { host, port, isUsual: false, download: { tls, path: `${url.pathname}${url.search}` } };
}

function parsePlace(text: string): HostPort {
  try {
    const place = parseHostPort(text);
    if (place.port > 0) return place;
  } catch {}
  throw badTarget();
}

function badTarget(): WstunError {
  return new WstunError(
    'bad-option',
    '--target needs HOST:PORT, or the URL of a file (http or https, without a password)',
  );
}

function parseIdle(text: string): number {
  if (!/^\d{1,5}$/.test(text) || Number(text) < 1 || Number(text) > MAX_IDLE_S)
    throw new WstunError('bad-option', '--idle needs whole seconds from 1 to 86400');
  return Number(text) * 1000;
}
