/** The environment of a browser: without our secrets, and without a proxy that leads back into this client. Pure. */

const PROXY = /^(?:https?|all)_proxy$/i;
const HERE = /^(?:localhost|127(?:\.\d+){3}|::1|0\.0\.0\.0|::)$/;

/** @param port of this client's own proxy, on this machine */
export function browserEnvironment(env: NodeJS.ProcessEnv, port: number): NodeJS.ProcessEnv {
  const isKept = ([name, value]: [string, string | undefined]) =>
    !name.startsWith('WSTUN_') && !(PROXY.test(name) && isAt(value, port));
  return Object.fromEntries(Object.entries(env).filter(isKept));
}

/** `http://127.0.0.1:1080`, or the same without a scheme. */
function isAt(value = '', port: number): boolean {
  const match = /^(?:\w+:\/\/)?(?:[^@/]*@)?(?:\[([^\]]+)\]|([^:/[\]]+)):(\d+)\/?$/.exec(value.trim());
  return match !== null && Number(match[3]) === port && HERE.test((match[1] ?? match[2] ?? '').toLowerCase());
}
