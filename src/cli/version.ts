/** What `--version` and `wstun version` print. */
import type { Build } from '../app/version.ts';
import { PROTOCOL_VERSION } from '../protocol/frames.ts';

export function versionLine({ version, commit }: Build): string {
  const { version: node, platform, arch } = process;
  return `wstun ${version} (${commit}) node ${node} ${platform}-${arch}, protocol ${PROTOCOL_VERSION}`;
}

/** The same for programs. */
export function versionFields({ version, commit, date }: Build): Readonly<Record<string, string | number>> {
  const { version: node, platform, arch } = process;
  return { version, commit, date, node, platform, arch, protocol: PROTOCOL_VERSION };
}
