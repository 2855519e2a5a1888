/**
 * Faults as errors that are thrown and handed on, and as codes on the wire. The table of them is fault-table.ts, which
 * nobody else imports.
 */
import { EXIT_CODE, FAULTS } from './fault-table.ts';

export { EXIT_CODE, FAULTS, type Fault, type FaultClass } from './fault-table.ts';

export type FaultName = keyof typeof FAULTS;

/** The faults that a peer can be told of. */
export type WireFaultName = { [K in FaultName]: (typeof FAULTS)[K] extends { wire: number } ? K : never }[FaultName];

/** Every fault that wstun throws or hands on. `detail` must never hold a secret: it reaches logs and screens. */
export class WstunError extends Error {
  override readonly name = 'WstunError';
  /** What the reader can do; '' if nothing. */
  readonly fix: string;

  /** `fix` stands in for that of the table, where more is known of what the reader can do. */
  constructor(
    readonly fault: FaultName,
    readonly detail = '',
    options: ErrorOptions & { readonly fix?: string } = {},
  ) {
    super(describeFault(fault, detail, options.fix), options);
    this.fix = options.fix ?? FAULTS[fault].fix;
  }

  /** What happened and the particulars, without what to do next. */
  get what(): string {
    const { sentence } = FAULTS[this.fault];
    return this.detail === '' ? sentence : `${sentence}: ${this.detail}`;
  }

  get code(): string {
    return FAULTS[this.fault].code;
  }

  get exitCode(): number {
    return EXIT_CODE[FAULTS[this.fault].class];
  }
}

/** One line for a person: what happened, the particulars, what to do next, the stable code. */
export function describeFault(fault: FaultName, detail = '', fix: string = FAULTS[fault].fix): string {
  const { sentence, code } = FAULTS[fault];
  const what = detail === '' ? sentence : `${sentence}: ${detail}`;
  return fix === '' ? `${what} (${code})` : `${what}. ${fix} (${code})`;
}

const byWireCode = new Map<number, WireFaultName>();
for (const [name, fault] of Object.entries(FAULTS)) {
  if ('wire' in fault) byWireCode.set(fault.wire, name as WireFaultName);
}

export function wireCodeOf(fault: WireFaultName): number {
  return FAULTS[fault].wire;
}

/** Beside the faults of dials, what an end may say of one stream. */
const OF_STREAMS: readonly FaultName[] = ['shutting-down', 'link-lost', 'not-connected', 'overloaded', 'internal'];

/** Of a stream, in OPEN_FAILED or RESET. A code that is unknown, or for sessions, is a plain failed dial. */
export function faultOfStreamCode(code: number): WireFaultName {
  const fault = byWireCode.get(code);
  return fault !== undefined && (isOfDials(fault) || OF_STREAMS.includes(fault)) ? fault : 'dial-failed';
}

/** Of a session: in GO_AWAY, in place of one, or in a notice. One that is unknown, or for streams, says: it is over. */
export function faultOfSessionCode(code: number): WireFaultName {
  const fault = byWireCode.get(code);
  return fault === undefined || isOfDials(fault) ? 'session-closed' : fault;
}

function isOfDials(fault: FaultName): boolean {
  return FAULTS[fault].class === 'dial';
}
