import type { Command } from 'commander';
import type { Finding, ReconcileResult } from '../../../workflows/contract/reconcile';
import { lazy } from '../lazy';
import { describeRows, showList, type ListView } from '../output/show';
import { runVerb, showRun, withSharedOptions, type SharedOptions } from '../run-verb';
import { parseBackend } from '../values';

interface ReconcileOptions extends SharedOptions {
  backend?: string;
  dryRun?: boolean;
  adopt?: boolean;
  scrub?: boolean;
  wait: boolean;
}

export function registerReconcile(program: Command): void {
  const command = program
    .command('reconcile')
    .description('compare the inventory with the backend and the scratch directories, and repair the differences')
    .option('--backend <name>', 'which backend (default: the default backend)', parseBackend)
    .option('--dry-run', 'change nothing, print what would be done')
    .option('--adopt', 'restore the rows of volumes that have none, from their markers')
    .option('--scrub', 'read the image-volumes again and compare them with their digests')
    .option('--no-wait', 'start it and return');
  withSharedOptions(command).action(async (options: ReconcileOptions) => {
    const { backend, dryRun, adopt, scrub } = options;
    await runVerb(
      options,
      (cache, waiting) => lazy.reconcile.reconcile(cache, { backend, dryRun, adopt, scrub }, waiting),
      (ran) => showRun(ran, options, { isFailed, show: (done) => showList(done, view, options) }),
    );
  });
}

/** The exit code, too, says that something could not be checked or repaired. */
function isFailed({ problems, findings }: ReconcileResult): boolean {
  return problems.length > 0 || findings.some(({ action }) => action === 'failed');
}

const columns = ['kind', 'action', { name: 'bytes', head: 'SIZE' }, 'found'];
const more = ['object'];

const view: ListView<Finding, ReconcileResult> = {
  list: 'findings',
  id: 'object',
  columns,
  more,
  empty: 'no findings',
  text: ({ findings, summary }, wide) => [
    ...(findings.length === 0
      ? []
      : [...describeRows(findings, wide ? [...columns, ...more] : columns, { empty: '', wide }), '']),
    summary,
  ],
};
