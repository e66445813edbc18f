import type { Command } from 'commander';
import { formatBytes } from '../../../workflows/contract/bytes';
import type { CacheLimitValues } from '../../../workflows/contract/eviction';
import type { ImageVolumeCache } from '../../connection';
import { setLimits } from '../../eviction';
import type { BackendLimits } from '../../records';
import { exitCodes } from '../exit-codes';
import { collectLimits } from '../limit-values';
import { exitCodeOf } from '../output/eviction';
import { formatDuration, formatShare } from '../output/format';
import { note, print, printJson } from '../output/print';
import { formatTable } from '../output/table';
import { withClient, withSharedOptions, type SharedOptions } from '../shared-options';
import { parseBackend } from '../values';
import { userName } from './evict';

interface LimitsOptions extends SharedOptions {
  backend?: string;
  set?: Partial<CacheLimitValues>;
}

export function registerCacheLimits(cache: Command): void {
  const command = cache
    .command('limits')
    .description('show the limits of a cache, or set some; the configuration then leaves those alone')
    .option('--backend <name>', 'whose cache (default: the default backend)', parseBackend)
    .option('--set <name=value>', 'maxBytes=10GiB, freeLowWater=5%, idleAge=30d, …; may be repeated', collectLimits);
  withSharedOptions(command).action(async (options: LimitsOptions) => {
    process.exitCode = await withClient(options, (client) => limits(client, options));
  });
}

async function limits(client: ImageVolumeCache, { set, json, ...options }: LimitsOptions): Promise<number> {
  const backend = options.backend ?? client.settings.loaded.config.defaultBackend;
  const answered = set && (await setLimits(client, { limits: set, by: userName() }, { backend }));
  const found = (await (await client.inventory()).listBackends()).find((status) => status.backend === backend);
  if (json) printJson({ backend, ...(answered && { result: answered.result }), limits: found?.limits ?? null });
  else {
    if (answered) note(`${answered.result.outcome}: ${answered.result.summary}`);
    if (found) print(describe(found.limits));
    else note(`no worker has ever held backend ${backend}`);
  }
  if (answered) return exitCodeOf(answered.result);
  return found === undefined ? exitCodes.notFound : exitCodes.done;
}

function describe({ values, setByOperator, setBy, setAt }: BackendLimits): string[] {
  const { enabled, maxBytes, maxCount, freeLowWater, freeHighWater, idleAgeMs, keepSuperseded, policy } = values;
  const written: [keyof CacheLimitValues, string, string][] = [
    ['enabled', 'enabled', String(enabled)],
    ['maxBytes', 'maxBytes', formatBytes(maxBytes)],
    ['maxCount', 'maxCount', String(maxCount)],
    ['freeLowWater', 'freeLowWater', formatShare(freeLowWater)],
    ['freeHighWater', 'freeHighWater', formatShare(freeHighWater)],
    ['idleAgeMs', 'idleAge', idleAgeMs === null ? 'off' : formatDuration(idleAgeMs)],
    ['keepSuperseded', 'keepSuperseded', String(keepSuperseded)],
    ['policy', 'policy', policy],
  ];
  const by = `${setBy ?? 'an operator'}${setAt === null ? '' : `, last at ${setAt}`}`;
  return formatTable(
    ['LIMIT', 'VALUE', 'SET BY'],
    written.map(([name, shown, value]) => [shown, value, setByOperator.includes(name) ? by : 'configuration']),
  );
}
