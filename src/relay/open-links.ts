/** How many links are open at a relay's public side, by what they go. */
import { PAGE_FEATURE } from '../crypto/ticket.ts';
import type { Admitted } from './gate.ts';
import type { SharedLoad } from './shared-load.ts';

/** `page`: of a phone or a browser, by either of the others. */
export type LinkKind = 'websocket' | 'http' | 'page';

export class OpenLinks {
  private total = 0;
  private readonly byKind: Record<LinkKind, number> = { websocket: 0, http: 0, page: 0 };
  /** One for all links of a kind: they are many, and most are idle. */
  private readonly ends: Readonly<Record<LinkKind, () => void>> = {
    websocket: () => this.remove('websocket'),
    http: () => this.remove('http'),
    page: () => this.remove('page'),
  };

  /** @param shared is told how many there are */
  constructor(private readonly shared?: SharedLoad) {}

  get size(): number {
    return this.total;
  }

  get counts(): Readonly<Record<LinkKind, number>> {
    return { ...this.byKind };
  }

  add(admitted: Admitted): void {
    this.total += 1;
    this.byKind[kindOf(admitted)] += 1;
    this.shared?.setLinks(this.total);
  }

  /** To be called at the end of such a link. */
  endOf(admitted: Admitted): () => void {
    return this.ends[kindOf(admitted)];
  }

  private remove(kind: LinkKind): void {
    this.total -= 1;
    this.byKind[kind] -= 1;
    this.shared?.setLinks(this.total);
  }
}

function kindOf({ features, httpLink }: Admitted): LinkKind {
  if ((features & PAGE_FEATURE) !== 0) return 'page';
  return httpLink === undefined ? 'websocket' : 'http';
}
