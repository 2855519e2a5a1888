/** Proxies that are the only way out, and ask who is there: the rows of docs/networks.md. */
import { PROXIES } from '../../support/networks/proxies.ts';
import { itPasses } from '../../support/networks/rows.ts';

itPasses(PROXIES, { port: 443 });
