/**
 * Programs that the client starts for a browser.
 * @module-tag waits
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { versionOf } from '../../../src/tether/browser/browser-process.ts';
import { tempDir } from '../../support/temp-dir.ts';

describe('the version of a browser', () => {
  it('is asked for with the environment that the browser itself gets', async () => {
    const program = join(await tempDir(), 'chromium');
    await writeFile(program, '#!/bin/sh\necho "Chromium 1.2.3.4 $SHOWN"\n', { mode: 0o755 });
    expect(await versionOf({ program, family: 'chromium' }, { SHOWN: 'yes' })).toBe('Chromium 1.2.3.4 yes');
  });
});
