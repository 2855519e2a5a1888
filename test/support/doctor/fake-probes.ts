/** A world for examinations: all is well in it but what a test changes, and what hangs takes for ever. */
import { Examination, type ExaminationOptions, type Findings } from '../../../src/doctor/examination.ts';
import type { OpenSession, Probes } from '../../../src/doctor/probes.ts';
import type { Via } from '../../../src/transport/connection/via.ts';
import { VirtualClock } from '../time/virtual-clock.ts';

export const RELAY = 'wss://relay.example.org';

export const goodSession: OpenSession = {
  open: async () => {},
  download: async () => ({ bytes: 10_000_000, ms: 2_000 }),
  idle: async () => ({}),
  close: async () => {},
};

export const goodProbes: Probes = {
  relays: [RELAY],
  carriers: ['websocket', 'http'],
  clockCorrectionMs: 0,
  environment: async () => ({ used: [], unused: [], isExcepted: false, localProxy: undefined }),
  listen: async () => 'free',
  names: async () => ({
    ...{ host: 'relay.example.org', addresses: ['93.184.216.34'], lastGood: undefined },
    servers: [{ server: '10.0.0.53', addresses: ['93.184.216.34'] }],
  }),
  paths: async () => [undefined],
  connect: async (_relay, _proxy, _signal, onConnected) => {
    onConnected();
    return { issuer: '"Example CA"', validTo: 1_800_000_000_000, isPinned: false, inspector: undefined };
  },
  open: async (_relay, _route, _signal, onStage) => {
    for (const stage of ['opened', 'secured', 'established'] as const) onStage(stage);
    return goodSession;
  },
  loginPage: async () => undefined,
  unusedProxy: async () => undefined,
  answersAt443: async () => false,
};

export function fakeProxy(name: string): Via {
  return { name, connect: () => Promise.reject(new Error('no test connects')) };
}

export const hangs = (): Promise<never> => new Promise(() => {});

export interface Examined extends Findings {
  /** `ok tcp`, in order. */
  readonly said: readonly string[];
  /** The longest time without a word, ms. */
  readonly longestSilenceMs: number;
  readonly tookMs: number;
}

export async function examineFake(
  changes: Partial<Probes> = {},
  options: Partial<Omit<ExaminationOptions, 'probes' | 'clock'>> = {},
): Promise<Examined> {
  const clock = new VirtualClock();
  const said: string[] = [];
  let saidAt = 0;
  let longestSilenceMs = 0;
  const hear = (): void => {
    longestSilenceMs = Math.max(longestSilenceMs, clock.now() - saidAt);
    saidAt = clock.now();
  };
  const examination = new Examination({
    ...{ probes: { ...goodProbes, ...changes }, clock, signal: new AbortController().signal },
    target: { host: 'web.example', port: 443, isUsual: false, download: { tls: true, path: '/' } },
    ...options,
    onCheck: ({ name, state }) => {
      hear();
      said.push(`${state} ${name}`);
    },
    onWaiting: hear,
  });
  const findings = await clock.run(examination.run(), 200_000);
  hear();
  return { ...findings, said, longestSilenceMs, tookMs: clock.now() };
}
