import { userInfo } from 'node:os';
import type { Command } from 'commander';
import type { EvictionResult, EvictionStatus, EvictionTarget } from '../../../workflows/contract/eviction';
import { lazy } from '../lazy';
import { formatInstant } from '../output/format';
import { showAnswer } from '../output/eviction';
import { formatRecord, formatTable } from '../output/table';
import { showRecord } from '../output/show';
import { resolveEntry, resolveCachedImage } from '../resolve';
import { getEntry } from '../../reads';
import { runVerb, showFound, withSharedOptions, type SharedOptions } from '../run-verb';
import { parseBackend, parseBytes, parseCount, parseKeyPrefix } from '../values';
import { formatDuration } from '../../../workflows/contract/words';

interface EvictOptions extends SharedOptions {
  backend?: string;
  image?: string;
  entry?: string;
  key?: string;
  bytes?: number;
  count?: number;
  reason?: string;
  flatten?: boolean;
  dryRun?: boolean;
  wait: boolean;
}

export function registerEvict(program: Command): void {
  const command = program
    .command('evict')
    .description('evict cache entries now; without a target, enforce limits, watermarks, idle age and generations')
    .enablePositionalOptions()
    .option('--backend <name>', 'backend of the cache (default: the default backend)', parseBackend)
    .option('--image <image>', 'the entries of this image')
    .option('--entry <entry>', 'this entry')
    .option('--key <hex>', 'the entries of this short cache key; its first digits are enough', parseKeyPrefix)
    .option('--bytes <size>', 'this many bytes by rank: 1048576, or with a unit, such as 10GiB', parseBytes)
    .option('--count <n>', 'this many entries by rank', parseCount)
    .option('--reason <text>', 'why, for the history')
    .option('--flatten', 'make clones independent first, so that their parents can be deleted now')
    .option('--dry-run', 'print what would be evicted, in which order and why, and why the others stay')
    .option('--no-wait', 'send the request and return');
  withSharedOptions(command).action((options: EvictOptions) => run(options, command));

  const add = (name: string, description: string): Command =>
    withSharedOptions(
      command
        .command(name)
        .description(description)
        .option('--backend <name>', 'backend of the evictor (default: the default backend)', parseBackend),
    );
  const verbs = [
    ['pause', 'stop periodic sweeps; requests are still carried out', 'pauseEviction'],
    ['resume', 'start periodic sweeps again', 'resumeEviction'],
  ] as const;
  for (const [name, description, send] of verbs) {
    add(name, description)
      .option('--reason <text>', 'why, for the history')
      .action(async (options: EvictOptions) => {
        const { backend, reason } = options;
        await runVerb(
          options,
          (cache, waiting) => lazy.eviction[send](cache, { reason }, { ...waiting, backend }),
          (answer) => showAnswer(answer, options),
        );
      });
  }
  add('status', 'show what the evictor does, and its last answers').action(
    async ({ backend, ...shared }: EvictOptions) => {
      await showFound(
        shared,
        (cache) => lazy.eviction.evictionStatus(cache, { backend }),
        (status) => showRecord(status, { id: 'backend', text: describeStatus }, shared),
      );
    },
  );
}

async function run(options: EvictOptions, command: Command): Promise<void> {
  const target = targetOf(options, command);
  const { backend, dryRun, flatten, reason = `by ${userName()} with ivc` } = options;
  if (flatten && target === undefined)
    command.error("error: option '--flatten' got no target, allowed is one of --image, --entry, --key");
  await runVerb(
    options,
    async (cache, waiting) => {
      if (target === undefined) return await lazy.eviction.sweep(cache, { reason, dryRun }, { ...waiting, backend });
      const { image, entry } = options;
      const resolved = {
        ...target,
        ...(image !== undefined && { imageId: await resolveCachedImage(cache, image) }),
        ...(entry !== undefined && { entryId: (await getEntry(cache, await resolveEntry(cache, entry))).entryId }),
      };
      return await lazy.eviction.evict(
        cache,
        { ...resolved, reason, by: userName(), dryRun, flatten },
        { ...waiting, backend },
      );
    },
    (answer) => showAnswer(answer, options),
  );
}

function targetOf({ image, entry, key, bytes, count }: EvictOptions, command: Command): EvictionTarget | undefined {
  const given = Object.entries({ imageId: image, entryId: entry, cacheKey: key, bytes, count }).filter(
    ([, value]) => value !== undefined,
  );
  if (given.length > 1)
    command.error('error: got several targets, allowed is one of --image, --entry, --key, --bytes, --count');
  return given.length === 0 ? undefined : (Object.fromEntries(given) as EvictionTarget);
}

function describeStatus({ backend, doing, paused, sweepIntervalMs, results, ...found }: EvictionStatus): string[] {
  const pace = sweepIntervalMs === null ? 'only on request' : `every ${formatDuration(sweepIntervalMs)}`;
  const { lastSweepAt, nextSweepAt } = found;
  const fields = formatRecord({
    backend,
    doing,
    sweeps: `${found.sweeps}, ${paused ? 'paused' : pace}`,
    lastSweepAt: lastSweepAt ? formatInstant(lastSweepAt) : undefined,
    nextSweepAt: nextSweepAt ? formatInstant(nextSweepAt) : undefined,
    waiting: `${found.waiting} requests`,
  });
  const rows = results.map(toRow).toReversed();
  return [
    ...fields,
    ...(rows.length > 0 ? ['', ...formatTable(['AT', 'SIGNAL', 'OUTCOME', 'REQUEST', 'SUMMARY'], rows)] : []),
  ];
}

function toRow({ at, signal, outcome, requestId, summary }: EvictionResult): string[] {
  return [formatInstant(at), signal, outcome, requestId, summary];
}

/** The name for the history; a process without an account has a number only. */
export function userName(): string {
  try {
    return userInfo().username;
  } catch {
    return String(process.getuid?.() ?? 'somebody');
  }
}
