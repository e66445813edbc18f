import { userInfo } from 'node:os';
import type { Command } from 'commander';
import type { EvictionTarget } from '../../../workflows/contract/eviction';
import { evict, sweep } from '../../eviction';
import { showAnswer } from '../output/eviction';
import { abortOnSignals } from '../signals';
import { withClient, withSharedOptions, type SharedOptions } from '../shared-options';
import { parseBackend, parseCount, parseKeyPrefix, parseSize, parseUuid } from '../values';
import { registerEvictControl } from './evict-control';

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
    .description('give cache entries up now; without a target: enforce limits, watermarks, idle age, generations')
    .enablePositionalOptions()
    .option('--backend <name>', 'whose cache (default: the default backend)', parseBackend)
    .option('--image <id>', 'the entries of this image', parseUuid)
    .option('--entry <id>', 'this entry', parseUuid)
    .option('--key <hex>', 'the entries of this short cache key, or of the one that begins so', parseKeyPrefix)
    .option('--bytes <size>', 'so many bytes by rank, such as 10GiB', parseSize)
    .option('--count <n>', 'so many entries by rank', parseCount)
    .option('--reason <text>', 'why, for the history')
    .option('--flatten', 'make clones independent first, so that their retired parents can go now')
    .option('--dry-run', 'print what would go, in which order and why, and why the others stay')
    .option('--no-wait', 'ask for it and return');
  withSharedOptions(command).action(async (options: EvictOptions) => {
    process.exitCode = await run(options, command);
  });
  registerEvictControl(command);
}

async function run(options: EvictOptions, command: Command): Promise<number> {
  const target = targetOf(options, command);
  const { backend, wait, dryRun, flatten, reason = `by ${userName()} with ivc` } = options;
  if (flatten && target === undefined)
    command.error("error: option '--flatten' got no target, allowed is one of --image, --entry, --key");
  const signals = abortOnSignals();
  const sending = { backend, wait, signal: signals.signal };
  try {
    return await withClient(options, async (cache) => {
      const answered =
        target === undefined
          ? await sweep(cache, { reason, dryRun }, sending)
          : await evict(cache, { ...target, reason, dryRun, flatten }, sending);
      return showAnswer(answered, options);
    });
  } finally {
    signals.release();
  }
}

function targetOf({ image, entry, key, bytes, count }: EvictOptions, command: Command): EvictionTarget | undefined {
  const given = Object.entries({ imageId: image, entryId: entry, cacheKey: key, bytes, count }).filter(
    ([, value]) => value !== undefined,
  );
  if (given.length > 1)
    command.error('error: got several targets, allowed is one of --image, --entry, --key, --bytes, --count');
  return given.length === 0 ? undefined : (Object.fromEntries(given) as EvictionTarget);
}

/** Who it is for the history; a process without an account has a number only. */
export function userName(): string {
  try {
    return userInfo().username;
  } catch {
    return String(process.getuid?.() ?? 'somebody');
  }
}
