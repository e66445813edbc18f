import { randomUUID } from 'node:crypto';
import { sql } from 'drizzle-orm';
import { recordDecision } from '../../../db/report/decisions';
import { recordEntryEvent } from '../../../db/entries/entry-events';
import {
  readEntriesLeft,
  readExpensiveMisses,
  readImageUse,
  readOutcomes,
  readReasons,
  readStages,
} from '../../../db/report/report';
import { useInventory } from '../../support/database/database';
import { BACKEND, cacheKey, IMAGE, readyEntry, registerLocal } from '../../support/database/rows';

const HOUR_MS = 3_600_000;

const { database } = useInventory(registerLocal);
const period = () => ({ from: new Date(Date.now() - HOUR_MS), to: new Date(Date.now() + HOUR_MS) });
beforeEach(async () => void (await database.sql`truncate decisions, entry_events`));

const decide = (outcome: 'hit' | 'miss' | 'failed', more: Partial<Parameters<typeof recordDecision>[1]> = {}) =>
  recordDecision(database, {
    volumeId: null,
    backend: BACKEND,
    imageId: IMAGE,
    outcome,
    reason: 'a sentence',
    workflowId: `volume/${randomUUID()}`,
    runId: randomUUID(),
    ...more,
  });

describe('the report’s reading', () => {
  it('counts decisions of the period by time and outcome, and leaves others out', async () => {
    await decide('hit');
    await decide('hit');
    await decide('miss', { bytesDownloaded: 10 });
    await decide('hit', { workflowId: 'volume/old' });
    await database.orm.execute(
      sql`update decisions set at = now() - interval '3 hours' where workflow_id = 'volume/old'`,
    );
    const outcomes = await readOutcomes(database, { ...period(), bucketMs: 24 * HOUR_MS });
    const counts = outcomes.map(({ outcome, creates, bytesDownloaded }) => ({ outcome, creates, bytesDownloaded }));
    expect(counts).toEqual([
      { outcome: 'hit', creates: 2, bytesDownloaded: 0 },
      { outcome: 'miss', creates: 1, bytesDownloaded: 10 },
    ]);
    const elsewhere = { ...period(), backend: 'other' as never, bucketMs: HOUR_MS };
    expect(await readOutcomes(database, elsewhere)).toEqual([]);
  });

  it('ranks misses by their whole time, and sums stages and images up', async () => {
    for (const total of [10, 30, 20]) await decide('miss', { timingsMs: { total, download: total / 2 } });
    await decide('hit', { timingsMs: { total: 1 } });
    const misses = await readExpensiveMisses(database, period());
    expect(misses.map(({ totalMs, downloadMs }) => [totalMs, downloadMs])).toEqual([
      [30, 15],
      [20, 10],
      [10, 5],
    ]);
    expect(misses[0]?.at).toBeInstanceOf(Date);
    const stages = await readStages(database, period());
    expect(stages).toContainEqual({ outcome: 'miss', stage: 'total', creates: 3, p50Ms: 20, p95Ms: 29, maxMs: 30 });
    expect(await readImageUse(database, period())).toMatchObject([{ imageId: IMAGE, creates: 4, hits: 1 }]);
  });

  it('names failures by their type', async () => {
    await decide('failed', { errorType: 'NoSpace' });
    await decide('failed', { errorType: 'NoSpace' });
    expect(await readReasons(database, period())).toEqual([{ outcome: 'failed', reason: 'NoSpace', creates: 2 }]);
  });

  it('tells of each entry that left the last that happened to it, and which images it made room for', async () => {
    const [leaving, coming] = [cacheKey('leaving'), cacheKey('coming')];
    const { id } = await readyEntry(database, leaving);
    await readyEntry(database, coming);
    const workflowId = `populate/${BACKEND}/${coming.short}`;
    await recordEntryEvent(database, { entryId: id, kind: 'retired', reason: 'evicted', bytes: 5 });
    await recordEntryEvent(database, {
      entryId: id,
      kind: 'deleted',
      reason: 'evicted',
      bytes: 7,
      workflowId,
    });
    expect(await readEntriesLeft(database, period())).toMatchObject([
      {
        entryId: id,
        kind: 'deleted',
        reason: 'evicted',
        bytes: 7,
        imageIds: [IMAGE],
        workflowId,
        forImageIds: [IMAGE],
      },
    ]);
  });
});
