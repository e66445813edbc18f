import type { Command } from 'commander';
import { formatBytes } from '../../../workflows/contract/bytes';
import type { CacheLimitValues } from '../../../workflows/contract/eviction';
import { exitCodes } from '../../errors';
import { expectBackend } from '../../reads';
import type { BackendLimits } from '../../records';
import { lazy } from '../lazy';
import { exitCodeOf } from '../output/eviction';
import { note } from '../output/print';
import { formatInstant, formatShare } from '../output/format';
import { formatTable } from '../output/table';
import { isForProgram, showRecord } from '../output/show';
import { runVerb, withSharedOptions, type SharedOptions } from '../run-verb';
import { collectLimits, parseBackend } from '../values';
import { userName } from './evict';
import { formatDuration } from '../../../workflows/contract/words';

interface LimitsOptions extends SharedOptions {
  backend?: string;
  set?: Partial<CacheLimitValues>;
}

export function registerCacheLimits(cache: Command): void {
  const command = cache
    .command('limits')
    .description('show the limits of a cache, or set some; a limit that was set overrides the configuration')
    .option('--backend <name>', 'backend of the cache (default: the default backend)', parseBackend)
    .option('--set <name=value>', 'maxBytes=10GiB, freeLowWater=5%, idleAge=30d, …; may be repeated', collectLimits);
  withSharedOptions(command).action(async (options: LimitsOptions) => {
    const { set } = options;
    await runVerb(
      options,
      async (client, { signal }) => {
        const backend = options.backend ?? client.settings.loaded.config.defaultBackend;
        await expectBackend(client, backend);
        const answered =
          set && (await lazy.eviction.setLimits(client, { limits: set, by: userName() }, { signal, backend }));
        const found = (await (await client.inventory()).listBackends()).find((status) => status.backend === backend);
        return { backend, result: answered?.result, limits: found?.limits ?? null };
      },
      ({ backend, result, limits }) => {
        const tell = isForProgram(options) ? () => undefined : note;
        if (result) tell(`${result.outcome}: ${result.summary}`);
        if (limits === null) tell(`no worker has ever registered backend ${backend}`);
        const text = limits === null ? () => [] : () => describe(limits);
        showRecord({ backend, result, limits }, { id: 'backend', text }, options);
        if (result) return exitCodeOf(result);
        return limits === null ? exitCodes.notFound : exitCodes.done;
      },
    );
  });
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
  const by = `${setBy ?? 'an operator'}${setAt === null ? '' : `, last at ${formatInstant(setAt)}`}`;
  return formatTable(
    ['LIMIT', 'VALUE', 'SET BY'],
    written.map(([name, shown, value]) => [shown, value, setByOperator.includes(name) ? by : 'configuration']),
  );
}
