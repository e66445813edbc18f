import type { Command } from 'commander';
import { unfollowImage } from '../../follows';
import { print, printJson } from '../output/print';
import { withClient, withSharedOptions, type SharedOptions } from '../shared-options';
import { parseBackend } from '../values';

export function registerCacheUnfollow(cache: Command): void {
  const command = cache
    .command('unfollow')
    .description('end a follow; what was cached for it stays')
    .argument('<name>', 'name of the follow')
    .option('--backend <name>', 'where (default: the default backend)', parseBackend);
  withSharedOptions(command).action(unfollow);
}

async function unfollow(name: string, { backend, ...shared }: SharedOptions & { backend?: string }): Promise<void> {
  const result = await withClient(shared, (cache) => unfollowImage(cache, { name, backend }));
  if (shared.json) return printJson(result);
  const said = result.outcome === 'removed' ? 'is no more' : 'was absent already';
  print(`follow ${result.name} on backend ${result.backend} ${said}`);
}
