/** What relays and exits share: a state directory, whose keys and access list they follow, and limits. No links. */
import type { Identity, PublicIdentity } from '../crypto/keys.ts';
import type { ListenRule } from '../exit/listen/listen-rules.ts';
import type { Rule } from '../exit/rules.ts';
import type { Logger } from '../observability/logger.ts';
import type { AccessFile } from '../state/access-file.ts';
import type { AccessSource } from '../state/access-store.ts';
import { type AccessWatch, followedFile } from '../state/access-watch.ts';
import type { FileWatch } from '../state/file-watch.ts';
import { loadOrCreateIdentity, watchIdentity } from '../state/identity-file.ts';
import { type ProcessLimits, readLimits } from '../state/limits-file.ts';
import { keepRetired, type RetiredKeys, readRetiredKeys } from '../state/retired-keys.ts';
import type { StateDir } from '../state/state-dir.ts';
import { openUsage, type StoredUsage, type UsageCounter } from '../state/usage-file.ts';
import { AccessControl } from './access-control.ts';
import { type DescriptorGuard, watchDescriptors } from './descriptor-guard.ts';
import { accessFile, type Issuer, inviteNewPeer, newEntry, type PeerOptions } from './invites.ts';
import { MemoryGuard } from './memory-guard.ts';

export interface Keys {
  readonly identity: Identity;
  /** Those before it, newest first. */
  readonly retired: readonly RetiredKeys[];
}

/** Where a relay has its access list and counts usage, in place of its state directory. */
export interface SharedState {
  readonly list: AccessSource<Rule, ListenRule>;
  /** @param own that of the state directory */
  usage(own: StoredUsage, access: AccessControl): UsageCounter;
  /** Whose invites were valid with keys that were replaced everywhere; undefined: nothing is known of them. */
  retiredOf(keys: PublicIdentity): Promise<Pick<RetiredKeys, 'until' | 'peers'> | undefined>;
}

export class ServingState {
  readonly file: AccessFile<Rule, ListenRule>;
  /** The access list: the file, unless it is shared. */
  readonly list: AccessSource<Rule, ListenRule>;
  private readonly memory: MemoryGuard;
  private accessWatch: AccessWatch<Rule, ListenRule> | undefined;
  private keysWatch: FileWatch | undefined;

  private constructor(
    readonly directory: StateDir,
    private current: Keys,
    readonly limits: ProcessLimits,
    readonly access: AccessControl,
    readonly usage: UsageCounter,
    private readonly shared: SharedState | undefined,
    private readonly descriptors: DescriptorGuard,
    private readonly logger: Logger,
    processes: number,
  ) {
    this.file = accessFile(directory);
    this.list = shared?.list ?? followedFile(this.file);
    this.memory = new MemoryGuard(limits.memory, undefined, processes);
  }

  /**
   * @param descriptorsNeeded at full use @param processes that serve together with this directory
   * @throws WstunError state-unusable, identity-damaged, limits-malformed
   */
  static async open(
    directory: StateDir,
    descriptorsNeeded: (limits: ProcessLimits) => number,
    logger: Logger,
    processes = 1,
    shared?: SharedState,
  ): Promise<ServingState> {
    const keys = await loadKeys(directory);
    const limits = await readLimits(directory);
    const access = new AccessControl();
    const own = await openUsage(directory, logger);
    const usage = shared?.usage(own, access) ?? own;
    const descriptors = watchDescriptors(logger, descriptorsNeeded(limits));
    return new ServingState(directory, keys, limits, access, usage, shared, descriptors, logger, processes);
  }

  get keys(): Keys {
    return this.current;
  }

  readonly isOverloaded = (): boolean => this.memory.isOver();

  readonly isShortOfDescriptors = (): boolean => this.descriptors.isShort();

  /**
   * Puts the access list in force, and follows it and the keys from then on. `onAccess` is called for the first list,
   * too; `kept` are the names that were there before with the same key. `onRotated` finds the new keys here.
   * @throws WstunError state-unusable, access-malformed
   */
  async follow(onAccess: (kept: ReadonlySet<string>) => void, onRotated: () => void): Promise<void> {
    const { access, logger } = this;
    this.accessWatch = await this.list.follow({
      handleChange: (entries) => {
        onAccess(access.replace(entries));
        logger.info({ entries: entries.length }, 'access list reloaded');
      },
      handleFault: (fault) => logger.error({ code: fault.code }, fault.message),
    });
    onAccess(access.replace(this.accessWatch.entries));
    const onChange = async () => {
      const before = this.current.identity;
      this.current = await this.loadReplaced(before);
      onRotated();
      logger.info({}, 'the keys were rotated');
    };
    this.keysWatch = watchIdentity(this.directory, this.keys.identity, onChange, logger);
  }

  /** The keys may have been copied from another relay, and what those of before were for is known there. */
  private async loadReplaced(before: Identity): Promise<Keys> {
    const keys = await loadKeys(this.directory);
    const { gate } = before.public;
    const isKnown = keys.retired.some(({ identity }) => Buffer.from(gate).equals(identity.public.gate));
    const found = isKnown ? undefined : await this.shared?.retiredOf(before.public);
    if (found === undefined) return keys;
    await keepRetired(this.directory, { identity: before, exits: new Map(), ...found }, Date.now());
    return await loadKeys(this.directory);
  }

  /** Resolves with the invite when it is in force here. @throws WstunError as of inviteNewPeer */
  async invite(issuer: Issuer, name: string, options: PeerOptions): Promise<string> {
    const invite = await inviteNewPeer(this.list, issuer, newEntry(name, options));
    await this.accessWatch?.look();
    return invite;
  }

  /** Resolves when the peer's sessions have ended. @throws WstunError name-unknown, state-unusable */
  async remove(name: string): Promise<void> {
    await this.list.remove(name);
    await this.accessWatch?.look();
  }

  /** Changes of the files have no effect from now on. */
  async stopFollowing(): Promise<void> {
    await Promise.all([this.keysWatch?.close(), this.accessWatch?.close()]);
  }

  /** After the last session has ended. */
  async close(): Promise<void> {
    await this.stopFollowing();
    this.descriptors.stop();
    await this.usage.close();
  }
}

/** @throws WstunError state-unusable, identity-damaged */
async function loadKeys(state: StateDir): Promise<Keys> {
  const { identity } = await loadOrCreateIdentity(state);
  return { identity, retired: await readRetiredKeys(state, Date.now()) };
}
