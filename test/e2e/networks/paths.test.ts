/** Paths that carry little, only some ports, one version of IP, or lead elsewhere first: the rows of docs/networks.md. */
import { PATHS } from '../../support/networks/paths.ts';
import { itPasses } from '../../support/networks/rows.ts';

itPasses(PATHS, { isRouted: true });
