// Checks the dashboard with Grafana's own packages. `cargo test --test program operator:: -- --ignored` runs it; by hand:
//   npm ci --ignore-scripts && node check.mjs ../dashboard.json
// 1. tsc compares the dashboard with the types of @grafana/schema: every field of every panel, unknown ones too.
// 2. With a second file, the answers of a Prometheus to the queries of each panel, it runs the panel's transformations with
//    @grafana/data and prints the tables that Grafana would show, as JSON.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const folder = dirname(fileURLToPath(import.meta.url));
const [dashboardFile, answersFile] = process.argv.slice(2);
const dashboard = JSON.parse(readFileSync(dashboardFile, 'utf8'));
const panels = dashboard.panels.flatMap((panel) => [panel, ...(panel.panels ?? [])]);

const kinds = { stat: 'Stat', table: 'Table', timeseries: 'TimeSeries', bargauge: 'BarGauge' };
const composable = '@grafana/schema/dist/esm/raw/composable';
const lines = [
  `import type { PrometheusDashboard, PrometheusDataQuery } from './types';`,
  // JSON has the values of enums and not their names.
  'type Json<T> = T extends string | number ? `${T}` extends `${infer N extends number}` ? N : `${T}` : T extends object ? { [K in keyof T]: Json<T[K]> } : T;',
];
for (const [type, name] of Object.entries(kinds)) {
  lines.push(`import type * as ${type} from '${composable}/${type}/panelcfg/x/${name}PanelCfg_types.gen';`);
}
// The dashboard as a whole, then what its types leave open: each kind's options and field settings, and the queries.
lines.push(`export const dashboard: Json<PrometheusDashboard> = ${JSON.stringify(dashboard)};`);
for (const panel of panels) {
  const { id, type } = panel;
  if (type === 'row') continue;
  if (!(type in kinds)) throw new Error(`panel ${id}: add the kind ${type} to check.mjs`);
  lines.push(`export const options${id}: Json<${type}.Options> = ${JSON.stringify(panel.options)};`);
  const settings = [panel.fieldConfig.defaults.custom ?? {}];
  if (['table', 'timeseries'].includes(type)) {
    lines.push(`export const custom${id}: Json<Partial<${type}.FieldConfig>>[] = ${JSON.stringify(settings)};`);
  }
  lines.push(`export const targets${id}: PrometheusDataQuery[] = ${JSON.stringify(panel.targets)};`);
}
writeFileSync(join(folder, 'dashboard.ts'), lines.join('\n'));
execFileSync(process.execPath, [join(folder, 'node_modules/typescript/bin/tsc'), '-p', folder], { stdio: ['ignore', 2, 2] });
console.error(`${panels.length} panels have the types of @grafana/schema`);

if (answersFile) {
  // @grafana/data wants a browser when it is loaded, and does not use it here: everything about this one is itself.
  const browser = new Proxy(function () {}, {
    get: (_, name) => (name === Symbol.toPrimitive ? () => '' : browser),
    set: () => true,
    apply: () => browser,
    construct: () => browser,
  });
  globalThis.window = Object.assign(globalThis, { history: browser, location: browser, addEventListener() {} });
  globalThis.document = browser;
  const require = createRequire(import.meta.url);
  const { FieldType, standardTransformersRegistry, transformDataFrame, standardTransformers, toDataFrame } =
    require('@grafana/data');
  const { firstValueFrom } = require('rxjs');
  const known = new Map(Object.values(standardTransformers).map((transformation) => [transformation.id, transformation]));
  standardTransformersRegistry.setInit(() => [...known].map(([id, transformation]) => ({ id, name: id, transformation })));

  // {panel id: {refId: the result of Prometheus's instant query}}, as frames in the form of Grafana's data source for tables.
  const answers = JSON.parse(readFileSync(answersFile, 'utf8'));
  const tables = {};
  for (const panel of panels.filter((panel) => panel.transformations)) {
    const results = Object.entries(answers[panel.id]).filter(([, result]) => result.length > 0);
    const frames = results.map(([refId, result]) => {
      const labels = [...new Set(result.flatMap(({ metric }) => Object.keys(metric)))].sort();
      const value = results.length > 1 ? `Value #${refId}` : 'Value';
      return toDataFrame({
        refId,
        fields: [
          { name: 'Time', type: FieldType.time, values: result.map(({ value: [time] }) => time * 1000) },
          ...labels.map((name) => ({ name, type: FieldType.string, values: result.map(({ metric }) => metric[name]) })),
          { name: value, type: FieldType.number, values: result.map(({ value: [, number] }) => Number(number)) },
        ],
      });
    });
    const context = { interpolate: (text) => text };
    const shown = await firstValueFrom(transformDataFrame(panel.transformations, frames, context));
    if (shown.length !== 1) throw new Error(`panel ${panel.id} shows ${shown.length} frames`);
    const [{ fields, length }] = shown;
    const name = (field) => field.config.displayName ?? field.name;
    tables[panel.title] = Array.from({ length }, (_, row) =>
      Object.fromEntries(fields.filter((field) => field.values[row] !== undefined).map((field) => [name(field), field.values[row]])),
    );
    // A table may name only columns that it has.
    const columns = new Set(fields.map(name));
    const named = [...(panel.options.sortBy ?? []).map((sort) => sort.displayName), ...panel.fieldConfig.overrides.map((override) => override.matcher.options)];
    for (const column of named.filter((column) => !columns.has(column))) {
      throw new Error(`panel ${panel.id} has no column ${column}, but ${[...columns]}`);
    }
  }
  console.log(JSON.stringify(tables));
}
