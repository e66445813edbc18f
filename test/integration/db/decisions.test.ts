import { listDecisions, recordDecision, summarizeDecisions, type NewDecision } from '../../../db/report/decisions';
import type { BackendName } from '../../../workflows/contract/ids';
import { useInventory } from '../../support/database/database';
import { BACKEND, IMAGE, newVolumeId, PROJECT } from '../../support/database/rows';

const { database } = useInventory();

const HOUR_MS = 3_600_000;

function refusal(more: Partial<NewDecision> = {}): NewDecision {
  const volumeId = newVolumeId();
  return {
    volumeId,
    projectId: PROJECT,
    backend: BACKEND,
    imageId: IMAGE,
    outcome: 'refused',
    reason: 'image is queued; only an active image can be used',
    errorType: 'ImageNotActive',
    workflowId: `volume/${volumeId}`,
    runId: 'run 1',
    ...more,
  };
}

test('a refusal is recorded once a run, without any other row', async () => {
  const decision = refusal();
  await recordDecision(database, decision);
  await recordDecision(database, { ...decision, reason: 'told again' });
  expect(await listDecisions(database, { limit: 10 })).toMatchObject([
    {
      outcome: 'refused',
      reason: decision.reason,
      errorType: 'ImageNotActive',
      bytesDownloaded: 0,
      at: expect.any(Date),
    },
  ]);
});

test('a request without a valid volume id is recorded too', async () => {
  await recordDecision(database, refusal({ volumeId: null, backend: undefined, workflowId: 'by hand' }));
  expect(await listDecisions(database, { limit: 10 })).toMatchObject([{ volumeId: null, backend: null }]);
});

test('decisions are found newest first and summed up by outcome', async () => {
  const hit = refusal({ outcome: 'hit', reason: 'ready' });
  await recordDecision(database, hit);
  await recordDecision(database, refusal({ outcome: 'hit', reason: 'ready' }));
  await recordDecision(database, refusal({ outcome: 'miss', reason: 'cold', bytesDownloaded: 5_000_000_000 }));
  await recordDecision(database, refusal({ backend: 'ceph' as BackendName }));
  expect(await summarizeDecisions(database, { withinMs: HOUR_MS })).toEqual({
    hit: 2,
    miss: 1,
    joined: 0,
    savedBytes: 0,
    savedSeconds: 0,
    bypassed: 0,
    refused: 1,
    failed: 0,
    bytesDownloaded: 5_000_000_000,
  });
  expect(await summarizeDecisions(database, { backend: BACKEND, withinMs: HOUR_MS })).toMatchObject({
    refused: 0,
    hit: 2,
  });
  expect(await summarizeDecisions(database, { withinMs: 0 })).toMatchObject({ hit: 0, bytesDownloaded: 0 });
  expect((await listDecisions(database, { limit: 2 })).map(({ outcome }) => outcome)).toEqual(['refused', 'miss']);
  expect(await listDecisions(database, { volumeId: hit.volumeId ?? undefined, limit: 10 })).toMatchObject([
    { outcome: 'hit' },
  ]);
  expect(await listDecisions(database, { since: new Date(Date.now() + HOUR_MS), limit: 10 })).toEqual([]);
});
