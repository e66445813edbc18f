import type { Command } from 'commander';
import type { EvictionResult, EvictionStatus } from '../../../workflows/contract/eviction';
import { evictionStatus, pauseEviction, resumeEviction } from '../../eviction';
import { showAnswer } from '../output/eviction';
import { formatAge, formatDuration } from '../output/format';
import { print, printJson } from '../output/print';
import { formatRecord, formatTable } from '../output/table';
import { withClient, withSharedOptions, type SharedOptions } from '../shared-options';
import { parseBackend } from '../values';

interface ControlOptions extends SharedOptions {
  backend?: string;
  reason?: string;
}

/** `ivc evict pause`, `resume`, `status`. */
export function registerEvictControl(evict: Command): void {
  const add = (name: string, description: string): Command =>
    withSharedOptions(
      evict
        .command(name)
        .description(description)
        .option('--backend <name>', 'whose evictor (default: the default backend)', parseBackend),
    );
  const verbs = [
    ['pause', 'stop periodic sweeps; what is asked for is still done', pauseEviction],
    ['resume', 'let periodic sweeps go on', resumeEviction],
  ] as const;
  for (const [name, description, send] of verbs) {
    add(name, description)
      .option('--reason <text>', 'why, for the history')
      .action(async ({ backend, reason, ...shared }: ControlOptions) => {
        process.exitCode = await withClient(shared, async (cache) =>
          showAnswer(await send(cache, { reason }, { backend }), shared),
        );
      });
  }
  add('status', 'what the evictor is doing, and what it has answered').action(status);
}

async function status({ backend, ...shared }: ControlOptions): Promise<void> {
  const found = await withClient(shared, (cache) => evictionStatus(cache, { backend }));
  if (shared.json) return printJson(found);
  print(describe(found));
  if (found.results.length > 0)
    print([
      '',
      ...formatTable(['AGE', 'SIGNAL', 'OUTCOME', 'REQUEST', 'SUMMARY'], found.results.map(toRow).toReversed()),
    ]);
}

function describe({
  backend,
  doing,
  paused,
  sweepIntervalMs,
  lastSweepAt,
  nextSweepAt,
  sweeps,
  waiting,
}: EvictionStatus) {
  return formatRecord({
    backend,
    doing,
    sweeps: `${sweeps}, ${paused ? 'paused' : sweepIntervalMs === null ? 'only when asked' : `every ${formatDuration(sweepIntervalMs)}`}`,
    lastSweepAt: lastSweepAt ?? undefined,
    nextSweepAt: nextSweepAt ?? undefined,
    waiting: `${waiting} requests`,
  });
}

function toRow({ at, signal, outcome, requestId, summary }: EvictionResult): string[] {
  return [formatAge(at), signal, outcome, requestId, summary];
}
