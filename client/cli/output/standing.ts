import type { ResolvedConfig } from '../../config/load';
import { formatDuration } from './format';

/** What runs by itself, in one line: as the worker has set it up. */
export function describeStanding({ schedules }: Pick<ResolvedConfig, 'schedules'>): string {
  const { evict, refresh, reconcile } = schedules;
  const cron = (when: string): string => (when === 'off' ? 'off' : `at ${when} UTC`);
  const sweeps = evict === 'off' ? 'off' : `every ${formatDuration(evict)}`;
  return `by itself: eviction sweeps ${sweeps}, refresh ${cron(refresh)}, reconcile ${cron(reconcile)}`;
}
