/** `relay.id` in a relay's state directory: under which it counts in its cluster. Random, and no secret. */
import { randomBytes } from 'node:crypto';
import type { StateDir } from '../state/state-dir.ts';

const NAME = 'relay.id';
const FORM = /^[0-9a-f]{16}$/;

/** The first call makes it; a damaged file is replaced. @throws WstunError state-unusable */
export async function loadOrCreateRelayId(state: StateDir): Promise<string> {
  // A lock cannot be had on a full disk.
  return (
    (await readId(state)) ??
    (await state.locked(async () => {
      const known = await readId(state);
      if (known !== undefined) return known;
      const made = randomBytes(8).toString('hex');
      await state.write(NAME, `${made}\n`);
      return made;
    }))
  );
}

async function readId(state: StateDir): Promise<string | undefined> {
  const text = (await state.read(NAME, { secret: false }))?.trim() ?? '';
  return FORM.test(text) ? text : undefined;
}
