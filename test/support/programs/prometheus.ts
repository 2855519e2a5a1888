/** Prometheus, reading admin pages each second. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { tempDir } from '../temp-dir.ts';
import { freePort, startServer } from './programs.ts';

export interface Prometheus {
  /** What an expression gives now. @throws where it is not valid, or cannot be evaluated */
  query(expression: string): Promise<readonly { readonly metric: object; readonly value: readonly [number, string] }[]>;
}

/** @param ports of admin pages on 127.0.0.1 */
export async function startPrometheus(ports: readonly number[]): Promise<Prometheus> {
  const dir = await tempDir();
  const port = await freePort();
  const config = join(dir, 'prometheus.yml');
  await writeFile(
    config,
    JSON.stringify({
      global: { scrape_interval: '1s' },
      scrape_configs: [{ job_name: 'wstun', static_configs: [{ targets: ports.map((each) => `127.0.0.1:${each}`) }] }],
    }),
  );
  const args = [`--config.file=${config}`, `--storage.tsdb.path=${dir}/data`, `--web.listen-address=127.0.0.1:${port}`];
  await startServer('prometheus', args, port);
  return {
    query: async (expression) => {
      const body = new URLSearchParams({ query: expression });
      const response = await fetch(`http://127.0.0.1:${port}/api/v1/query`, { method: 'POST', body });
      const answer = (await response.json()) as { status: string; error?: string; data?: { result: [] } };
      if (answer.status !== 'success') throw new Error(`${answer.error}: ${expression}`);
      return answer.data?.result ?? [];
    },
  };
}
