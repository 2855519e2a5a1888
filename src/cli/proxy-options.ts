/** By which proxy the commands reach the relay: options, and an environment that child processes must not inherit. */
import type { ProxyOptions } from '../app/proxy-options.ts';

/** An empty variable counts as absent. The URL may hold a password: it is deleted from the environment. */
export function proxyOptions(options: ProxyOptions): ProxyOptions {
  const fromEnvironment = process.env.WSTUN_PROXY;
  delete process.env.WSTUN_PROXY;
  const proxy = options.proxy ?? (fromEnvironment === '' ? undefined : fromEnvironment);
  return {
    ...(proxy !== undefined && { proxy }),
    ...(options.proxyAuthFile !== undefined && { proxyAuthFile: options.proxyAuthFile }),
    ...(options.proxyAuthCommand !== undefined && { proxyAuthCommand: options.proxyAuthCommand }),
  };
}
