/** A proxy that inspects TLS, and a PAC file: the rows of docs/networks.md. */
import { INSPECTORS } from '../../support/networks/inspectors.ts';
import { itPasses } from '../../support/networks/rows.ts';

itPasses(INSPECTORS);
