/** Whose browser shows the page: what its links are called, and which faults say that it cannot carry. */
import type { FaultName } from '../../errors.ts';
import type { StartView } from '../shared/start.ts';

export interface PageKind {
  /** Of its links, in logs. */
  readonly name: string;
  /** Nothing answers it at the relay. */
  readonly offline: FaultName;
  /** Something answers there, and accepts no link. */
  readonly refused: FaultName;
  /** How the page looks that a start file opens. Undefined: a person opens it, by a code. */
  readonly start?: StartView;
}

export const PHONE: PageKind = { name: 'phone', offline: 'phone-offline', refused: 'phone-refused' };

/** A browser on this machine, which the client starts. */
export function ownBrowser(start: StartView): PageKind {
  return { name: 'browser', offline: 'browser-offline', refused: 'browser-refused', start };
}

/** Such a page may reach the relay later. */
export const OFFLINE: ReadonlySet<FaultName> = new Set(['phone-offline', 'browser-offline']);
