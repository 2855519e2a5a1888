/** Web servers in front of the relay, and boxes that stop WebSockets: the rows of docs/networks.md. */
import { BOXES } from '../../support/networks/boxes.ts';
import { FRONTS } from '../../support/networks/fronts.ts';
import { itPasses } from '../../support/networks/rows.ts';

itPasses([...FRONTS, ...BOXES]);
