/**
 * The package acme-client, loaded when it is used, with its requests under our limits. It would repeat them itself,
 * after pauses that no one can cancel, and would lose the kind of a problem.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import type { Agent } from 'node:https';
import { withLimit } from '../async/abortable.ts';
import type { Clock } from '../clock.ts';
import { AcmeFault, faultOfAnswer, isBadNonce } from './acme-fault.ts';

export type Library = typeof import('acme-client');

const REQUEST_MS = 30_000;
const MAX_ANSWER_BYTES = 1024 * 1024;

/** What the requests of one order share. */
export interface Exchange {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Undefined: the system's certificate authorities. */
  readonly agent: Agent | undefined;
  /** What the last answer asked to wait, ms; 0 if nothing. */
  retryAfterMs: number;
}

const exchanges = new AsyncLocalStorage<Exchange>();
let loaded: Promise<Library> | undefined;

/** Requests in `act` belong to the exchange. They reject with AcmeFault, or the reason of its signal. */
export async function withLibrary<T>(exchange: Exchange, act: (library: Library) => Promise<T>): Promise<T> {
  loaded ??= load();
  const library = await loaded;
  return await exchanges.run(exchange, () => act(library));
}

async function load(): Promise<Library> {
  const loaded: Library & { default?: Library } = await import('acme-client');
  // It is CommonJS. A bundle of wstun may have no other name for what it exports.
  const library = loaded.default ?? loaded;
  const { axios } = library;
  const plain = axios.create();
  const before = axios.defaults.adapter;
  axios.defaults.adapter = async (config) => {
    const exchange = exchanges.getStore();
    // Someone else's in this process.
    if (exchange === undefined) return await plain.request({ ...config, ...(before && { adapter: before }) });
    const response = await send(exchange, config.url ?? '', (signal) =>
      plain.request({
        ...config,
        signal,
        adapter: 'http',
        validateStatus: null,
        maxContentLength: MAX_ANSWER_BYTES,
        ...(exchange.agent && { httpsAgent: exchange.agent }),
      }),
    );
    const { status, data, headers } = response;
    exchange.retryAfterMs = retryAfter(headers['retry-after'], exchange.clock.wallTime());
    if (status >= 400 && !isBadNonce(status, data)) throw faultOfAnswer(status, data, exchange.retryAfterMs);
    return { ...response, config };
  };
  return library;
}

async function send<T>({ clock, signal }: Exchange, url: string, request: (signal: AbortSignal) => Promise<T>) {
  const host = URL.canParse(url) ? new URL(url).host : url;
  const late = () => new AcmeFault('acme-unreachable', `${host} did not answer within 30 s`);
  return await withLimit({ clock, signal, limitMs: REQUEST_MS }, late, async (limit) => {
    try {
      return await request(limit);
    } catch (error) {
      limit.throwIfAborted();
      const { code, message } = error as { code?: unknown; message?: unknown };
      throw new AcmeFault('acme-unreachable', `${host}: ${String(code ?? message)}`, 0, { cause: error });
    }
  });
}

/** RFC 9110 §10.2.3: seconds, or a date. @returns ms from now, 0 if there is none */
export function retryAfter(header: unknown, now: number): number {
  const text = String(header ?? '');
  const ms = /^\d{1,9}$/.test(text) ? Number(text) * 1000 : Date.parse(text) - now;
  return Number.isFinite(ms) ? Math.max(ms, 0) : 0;
}
