/** Limits the pairings under way, in all and for each address. Pure. */
import { MAX_PAIRINGS, MAX_PAIRINGS_PER_ADDRESS } from './tether-limits.ts';

export class PairingSlots {
  private readonly byAddress = new Map<string, number>();
  private total = 0;

  /** False: there is no free slot. */
  acquire(address: string): boolean {
    const used = this.byAddress.get(address) ?? 0;
    if (this.total >= MAX_PAIRINGS || used >= MAX_PAIRINGS_PER_ADDRESS) return false;
    this.byAddress.set(address, used + 1);
    this.total += 1;
    return true;
  }

  release(address: string): void {
    const left = (this.byAddress.get(address) ?? 0) - 1;
    if (left > 0) this.byAddress.set(address, left);
    else this.byAddress.delete(address);
    this.total -= 1;
  }
}
