/** What ends connections that are idle, or old: the rows of docs/networks.md. */
import { itPasses } from '../../support/networks/rows.ts';
import { WAITS } from '../../support/networks/waits.ts';

itPasses(WAITS, { sideBySide: 'wstun passes what ends connections that are idle, or old' });
