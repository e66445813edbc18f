import { CancellationScope, log } from '@temporalio/workflow';
import type { Caller } from '../contract/event-kinds';
import type { NewsOfVolume } from '../contract/server-events';
import { control, inTask } from './activity-profiles';
import { findFailure } from './fail';

/** Nova waits for no longer than a few minutes, by its own configuration. */
const TELLING_MS = 10 * 60_000;

/** Tells the servers that use a volume what has become of it. That they could not be told is recorded, and changes nothing: never throws a failure. */
export async function tellServers({ by, requestId, ...news }: NewsOfVolume & Caller): Promise<void> {
  await CancellationScope.nonCancellable(async () => {
    const step = { summary: `tell the servers of volume ${news.volumeId}: ${news.event}`, budgetMs: TELLING_MS };
    try {
      await control(step).tellServers({ ...news, by, requestId });
    } catch (error) {
      const failure = findFailure(error);
      if (failure === undefined) throw error;
      const { volumeId, event } = news;
      log.warn('the servers of a volume could not be told what has become of it', { ...news, type: failure.type });
      const note = { summary: 'note that its servers were not told' };
      await inTask(note, (a) => a.noteUntold({ volumeId, event, error: failure.type, by, requestId }));
    }
  });
}
