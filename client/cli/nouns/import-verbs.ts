import { Option, type Command } from 'commander';
import {
  countFindings,
  type ImportFinding,
  type ImportFromCinderResult,
} from '../../../workflows/contract/cinder-import';
import { userName } from '../commands/evict';
import { lazy } from '../lazy';
import { describeRows, showList, type ListView } from '../output/show';
import { runVerb, showRun, withSharedOptions, type SharedOptions } from '../run-verb';
import { parseBackend } from '../values';

interface ImportOptions extends SharedOptions {
  backend?: string;
  dryRun?: boolean;
}

export function registerImportVerbs(noun: Command): void {
  const cinder = noun
    .command('cinder')
    .description(
      'for operators: take volumes, snapshots, types, quotas and the cache of a Cinder over where they lie in Ceph',
    )
    .addOption(
      new Option('--database <url>', 'of Cinder, as `connection` in its cinder.conf: of MySQL, MariaDB or PostgreSQL')
        .env('CINDER_DATABASE_URL')
        .makeOptionMandatory(),
    )
    .option('--backend <name>', 'which backend has the same pool (default: the default backend)', parseBackend)
    .option('--dry-run', 'change nothing, print what would be taken over, and what not and why');
  withSharedOptions(cinder).action(async (options: ImportOptions & { database: string }) => {
    const { database, backend, dryRun } = options;
    await runVerb(
      options,
      (cache, { signal }) =>
        lazy.cinderImports.importFromCinder(cache, { database, backend, dryRun, by: userName() }, { signal }),
      (report) => showList(report, view, options),
    );
  });

  const revert = noun
    .command('revert')
    .description('for operators: give back what was taken over and neither changed nor written since')
    .option('--backend <name>', 'which backend (default: the default backend)', parseBackend)
    .option('--dry-run', 'change nothing, print what would be given back')
    .option('--no-wait', 'start it and return');
  withSharedOptions(revert).action(async (options: ImportOptions & { wait: boolean }) => {
    const { backend, dryRun } = options;
    await runVerb(
      options,
      (cache, waiting) => lazy.cinderImports.revertImport(cache, { backend, dryRun, by: userName() }, waiting),
      (ran) => showRun(ran, options, { isFailed: () => false, show: (done) => showList(done, view, options) }),
    );
  });
}

const columns = ['kind', 'action', 'object', 'name', { name: 'bytes', head: 'SIZE' }, 'reason'];
const more = ['projectId'];

const view: ListView<ImportFinding, ImportFromCinderResult> = {
  list: 'findings',
  id: 'object',
  columns,
  more,
  empty: 'nothing',
  text: ({ findings }, wide) => [
    ...describeRows(findings, wide ? [...columns, ...more] : columns, { empty: 'nothing', wide }),
    '',
    summarize(findings),
  ],
};

function summarize(findings: readonly ImportFinding[]): string {
  const counts = Object.entries(countFindings(findings));
  return counts.map(([what, count]) => `${count} ${what}`).join(', ') || 'nothing';
}
