import type { Command } from 'commander';
import { registerCacheEvict, registerCachePin } from '../commands/cache-evict';
import { registerCacheFollow } from '../commands/cache-follow';
import { registerCacheLimits } from '../commands/cache-limits';
import { registerCacheList } from '../commands/cache-list';
import { registerCacheRefusals } from '../commands/cache-refusals';
import { registerCacheSeed } from '../commands/cache-seed';
import { registerCacheShow } from '../commands/cache-show';
import { registerCacheWarm } from '../commands/cache-warm';

export function registerCacheVerbs(cache: Command): void {
  registerCacheList(cache);
  registerCacheShow(cache);
  registerCacheEvict(cache);
  registerCachePin(cache);
  registerCacheLimits(cache);
  registerCacheWarm(cache);
  registerCacheSeed(cache);
  registerCacheFollow(cache);
  registerCacheRefusals(cache);
}
