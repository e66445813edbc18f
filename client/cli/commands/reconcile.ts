import type { Command } from 'commander';
import { formatBytes } from '../../../workflows/contract/bytes';
import type { ReconcileResult } from '../../../workflows/contract/reconcile';
import { reconcile } from '../../reconcile';
import { exitCodes } from '../exit-codes';
import { howToLook } from '../output/how-to-look';
import { note, print, printJson } from '../output/print';
import { formatTable } from '../output/table';
import { withClient, withSharedOptions, type SharedOptions } from '../shared-options';
import { abortOnSignals } from '../signals';
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
    .description('compare the inventory with what the backend and the scratches really hold, and repair it')
    .option('--backend <name>', 'which backend (default: the default backend)', parseBackend)
    .option('--dry-run', 'change nothing, print what would be done')
    .option('--adopt', 'make rows again for volumes that have none, from their markers')
    .option('--scrub', 'read the image-volumes again and compare them with their digests')
    .option('--no-wait', 'start it and return');
  withSharedOptions(command).action(run);
}

async function run({ json, config, data, address, namespace, wait, ...input }: ReconcileOptions): Promise<void> {
  const shared = { json, config, data, address, namespace };
  const signals = abortOnSignals();
  try {
    await withClient(shared, async (cache) => {
      if (wait) {
        const { result, ...started } = await reconcile(cache, input, { wait: true, signal: signals.signal });
        return show({ ...started, ...result }, json);
      }
      const started = await reconcile(cache, input, { wait: false });
      if (json) return printJson(started);
      print(started.workflowId);
      note(howToLook(started.workflowId));
    });
  } finally {
    signals.release();
  }
}

/** What could not be looked at or repaired is told by the exit code, too. */
function show(result: ReconcileResult & { workflowId: string; runId: string }, json: boolean | undefined): void {
  const { findings, problems, summary } = result;
  if (problems.length > 0 || findings.some(({ action }) => action === 'failed')) process.exitCode = exitCodes.failed;
  if (json) return printJson(result);
  if (findings.length > 0) {
    const rows = findings.map(({ kind, action, bytes, found }) => [
      kind,
      action,
      bytes === null ? '-' : formatBytes(bytes),
      found,
    ]);
    print([...formatTable(['KIND', 'ACTION', 'SIZE', 'FOUND'], rows), '']);
  }
  print(summary);
}
