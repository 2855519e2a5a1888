/** The report of `wstun doctor`: what was found and under which circumstances, without a secret. */
import { randomBytes } from 'node:crypto';
import { rename, rm, writeFile } from 'node:fs/promises';
import { release } from 'node:os';
import type { diagnose } from '../app/doctor.ts';
import { packageVersion } from '../app/version.ts';
import { WstunError } from '../errors.ts';
import { fileReason } from '../state/state-dir.ts';
import { shownRaw } from './config/settings.ts';
import { withoutSecrets } from './secret-arguments.ts';

type Findings = Awaited<ReturnType<typeof diagnose>>;

/** As commander has them. */
export interface GivenOptions {
  readonly hasHeaders: boolean;
  readonly [name: string]: unknown;
}

export interface Report {
  /** What `--json` prints. */
  readonly result: object;
  readonly about: object;
}

/** Without a value: a secret, or something that names one. Headers can hold a login. */
const HIDDEN: ReadonlySet<string> = new Set(['invite', 'user', 'header', 'proxyAuthCommand']);
/** Variables that change what wstun does. Only whether they are set is told. */
const VARIABLES =
  /^(?:wstun_\w+|(?:https?|all|no|ftp)_proxy|node_\w+|ssl_cert_(?:file|dir)|xdg_state_home|lang|lc_\w+|res_options)$/i;
/** Keys, tickets and invites are base64url, the shortest has 43 characters. */
const LIKE_A_SECRET = /[A-Za-z0-9_-]{40,}/g;

export function reportOf(findings: Findings, given: GivenOptions, env: NodeJS.ProcessEnv): Report {
  const { fault, remark, through, isDetour, ms } = findings;
  const checks = findings.checks.map(({ error, ...check }) => ({ ...check, code: error?.code ?? null }));
  const result = {
    getsThrough: through !== undefined,
    isDetour,
    fault: faultOf(fault),
    remark: faultOf(remark),
    route: through === undefined ? null : routeOf(through),
    ms: Math.round(ms),
    checks,
  };
  const options = Object.entries(given).flatMap(([name, value]) =>
    value === undefined ? [] : [[name, shown(name, value)]],
  );
  const about = {
    wstun: packageVersion(),
    node: process.version,
    openssl: process.versions.openssl,
    platform: `${process.platform} ${release()} ${process.arch}`,
    at: new Date().toISOString(),
    options: Object.fromEntries(options),
    variables: Object.keys(env)
      .filter((name) => VARIABLES.test(name))
      .sort((a, b) => a.localeCompare(b)),
    lastErrors: findings.checks.flatMap(({ error }) => (error === undefined ? [] : [error.message])),
  };
  return masked({ result, about });
}

/** Only the user may read it; a file that is there is replaced. @throws WstunError bad-option */
export async function writeReport(file: string, { result, about }: Report): Promise<void> {
  const temporary = `${file}.${randomBytes(4).toString('hex')}.tmp`;
  try {
    await writeFile(temporary, `${JSON.stringify({ ...about, ...result }, null, 2)}\n`, { mode: 0o600, flag: 'wx' });
    await rename(temporary, file);
  } catch (error) {
    await rm(temporary, { force: true });
    throw new WstunError('bad-option', `--report ${file}: ${fileReason(error)}`);
  }
}

function faultOf(error: WstunError | undefined) {
  return error === undefined ? null : { code: error.code, name: error.fault, message: error.what, fix: error.fix };
}

function routeOf({ relay, route }: NonNullable<Findings['through']>) {
  return { relay: new URL(relay).host, carrier: route.carrier, proxy: route.proxy?.name ?? null };
}

function shown(name: string, value: unknown): unknown {
  if (HIDDEN.has(name)) return 'given';
  // A password may have spaces and slashes, so that its end shows only to who knows that this is a proxy.
  return typeof value === 'string' ? shownRaw(name, value) : value;
}

/** Whatever a text has come from. */
function masked<T>(value: T): T {
  const text = JSON.stringify(value, (_key, each: unknown) => (typeof each === 'string' ? maskedText(each) : each));
  return JSON.parse(text) as T;
}

function maskedText(text: string): string {
  return withoutSecrets(text, [])
    .replace(/^((?:[a-z][a-z0-9+.-]*:\/\/)?)[^/\s]*@/i, '$1…@')
    .replace(LIKE_A_SECRET, '…');
}
