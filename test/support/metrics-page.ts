/** What docs/metrics.md and the dashboard say, for tests. */
import { readFileSync } from 'node:fs';
import type { MetricDefinition } from '../../src/observability/metric-table.ts';

export const metricsPage = readFileSync(new URL('../../docs/metrics.md', import.meta.url), 'utf8');

/** A row of its table. */
export function metricRow(name: string, { type, labels, roles, help }: MetricDefinition): string {
  const cell = Object.entries(labels).map(([label, values]) => `\`${label}\`: ${values}`);
  return `| \`${name}\` | ${type} | ${cell.join('; ')} | ${roles.length === 3 ? 'all' : roles.join(', ')} | ${help} |`;
}

/** The rules for alerts. */
export function alertRules(): string {
  const blocks = [...metricsPage.matchAll(/^```yaml\n(.*?)^```$/gms)].map(([, text = '']) => text);
  return blocks.find((text) => text.startsWith('groups:')) ?? '';
}

export interface Dashboard {
  readonly schemaVersion: number;
  readonly templating: { readonly list: readonly { readonly name: string; readonly type: string }[] };
  readonly panels: readonly {
    readonly title: string;
    readonly type: string;
    readonly datasource?: { readonly uid: string };
    readonly targets?: readonly { readonly expr: string; readonly datasource: { readonly uid: string } }[];
  }[];
}

export const dashboard = JSON.parse(
  readFileSync(new URL('../../docs/grafana-dashboard.json', import.meta.url), 'utf8'),
) as Dashboard;

/** Those of all panels, with what Grafana puts in for its variables. */
export const dashboardExpressions: readonly string[] = dashboard.panels
  .flatMap(({ targets = [] }) => targets)
  .map(({ expr }) => expr.replaceAll('$__rate_interval', '1m').replaceAll(/\$(?:job|instance)/g, '.*'));
