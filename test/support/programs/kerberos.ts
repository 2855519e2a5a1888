/**
 * A Kerberos realm of MIT's: its key distribution centre in the foreground, users with tickets, and the keytab of a
 * service, all in a temporary directory. Programs find it by the variables of `env`.
 */
import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { tempDir } from '../temp-dir.ts';
import { freePort, runWell, startServer } from './programs.ts';

const REALM = 'WSTUN.TEST';

export interface Realm {
  readonly env: Readonly<Record<string, string>>;
  /** `SERVICE@REALM` */
  readonly service: string;
  /** Readable by any user. */
  readonly keytab: string;
  /** Logs a new user in. @returns the variables by which a program has the ticket */
  logIn(user: string): Promise<Readonly<Record<string, string>>>;
}

/** @param service `HTTP/HOST`, as browsers name a proxy's */
export async function startRealm(service: string): Promise<Realm> {
  const dir = await tempDir();
  await chmod(dir, 0o755);
  const port = await freePort();
  const path = (name: string) => join(dir, name);
  await writeFile(
    path('krb5.conf'),
    `[libdefaults]
 default_realm = ${REALM}
 dns_lookup_kdc = false
 dns_lookup_realm = false
 dns_canonicalize_hostname = false
 rdns = false
 udp_preference_limit = 1
[realms]
 ${REALM} = {
  kdc = 127.0.0.1:${port}
 }
[domain_realm]
 localhost = ${REALM}
`,
  );
  await writeFile(
    path('kdc.conf'),
    `[realms]
 ${REALM} = {
  kdc_listen = 127.0.0.1:${port}
  kdc_tcp_listen = 127.0.0.1:${port}
  database_name = ${path('principal')}
  key_stash_file = ${path('stash')}
 }
`,
  );
  const env = { KRB5_CONFIG: path('krb5.conf') };
  const own = { ...env, KRB5_KDC_PROFILE: path('kdc.conf') };
  const administer = (query: string) => runWell('kadmin.local', ['-q', query], { env: own });
  await runWell('kdb5_util', ['create', '-s', '-P', 'master'], { env: own });
  await administer(`addprinc -randkey ${service}`);
  await administer(`ktadd -k ${path('keytab')} ${service}`);
  await chmod(path('keytab'), 0o644);
  await startServer('krb5kdc', ['-n'], port, { env: own });
  const logIn = async (user: string) => {
    await administer(`addprinc -pw password ${user}`);
    const withTicket = { ...env, KRB5CCNAME: path(`${user}.tickets`) };
    await runWell('kinit', [user], { env: withTicket, input: 'password\n' });
    return withTicket;
  };
  return { env, service: `${service}@${REALM}`, keytab: path('keytab'), logIn };
}
