import { randomUUID } from 'node:crypto';
import type { SnapshotId } from '../../workflows/contract/ids';
import { workflowTypes } from '../../workflows/contract/names';
import type { ShareSnapshotResult, UnshareSnapshotResult } from '../../workflows/contract/share';
import { describeEveryStep, type CaseFault, type Scenario } from '../support/every-step/every-step';
import { finalFailure } from '../support/every-step/faults';
import { resultOf, type Ending, type World } from '../support/every-step/world';

const steps = ['planShare', 'ensureImageRecord', 'pickHost', 'uploadImage', 'publishShare'];
const members = ['member'];

async function take(world: World): Promise<SnapshotId> {
  const { volumeId } = resultOf(await world.create());
  const snapshotId = randomUUID() as SnapshotId;
  const workflowId = world.stack.ids.createSnapshot(snapshotId);
  resultOf(await world.run(workflowTypes.createSnapshot, workflowId, { volumeId }));
  return snapshotId;
}

async function shareAs(world: World, snapshotId: SnapshotId, request: string): Promise<Ending<ShareSnapshotResult>> {
  const workflowId = world.stack.ids.shareSnapshot(snapshotId, request);
  return await world.run(workflowTypes.shareSnapshot, workflowId, { snapshotId, members });
}

function expectFailed(ending: Ending<unknown> | undefined, fault: CaseFault | undefined): void {
  if (fault?.kind.startsWith('fails') !== true) return;
  const { type, message } = finalFailure;
  expect(ending).toEqual({ kind: 'failed', type, message });
}

async function imagesOf({ stack: { images } }: World, snapshotId: SnapshotId) {
  return (await images.listImages({ properties: { ivc_snapshot_id: snapshotId } })).images;
}

/** A share that did not end well is requested again. */
const share: Scenario = {
  name: 'a share',
  steps,
  struck: ['planShare', 'uploadImage', 'publishShare'],
  prepare: async (world, fault) => {
    const snapshotId = await take(world);
    const request = randomUUID();
    let first: Ending<ShareSnapshotResult> | undefined;
    let last: Ending<ShareSnapshotResult> | undefined;
    return {
      workflowId: world.stack.ids.shareSnapshot(snapshotId, request),
      run: async () => {
        last = first = await shareAs(world, snapshotId, request);
        if (first.kind !== 'done') last = await shareAs(world, snapshotId, randomUUID());
      },
      check: async () => {
        expectFailed(first, fault);
        expect(last).toMatchObject({ kind: 'done', result: { visibility: 'shared', members } });
        expect(await imagesOf(world, snapshotId)).toMatchObject([{ status: 'active', visibility: 'shared' }]);
      },
    };
  },
};

const unshare: Scenario = {
  name: 'the end of a share',
  steps: ['planUnshare', 'revokeShare', 'deleteSharedImage'],
  prepare: async (world, fault) => {
    const snapshotId = await take(world);
    resultOf(await shareAs(world, snapshotId, randomUUID()));
    const request = randomUUID();
    const unshareAs = (id: string): Promise<Ending<UnshareSnapshotResult>> =>
      world.run(workflowTypes.unshareSnapshot, world.stack.ids.unshareSnapshot(snapshotId, id), { snapshotId });
    let first: Ending<UnshareSnapshotResult> | undefined;
    return {
      workflowId: world.stack.ids.unshareSnapshot(snapshotId, request),
      run: async () => {
        first = await unshareAs(request);
        await unshareAs(randomUUID());
      },
      check: async () => {
        // An image that could not be deleted is told, and the run is done: nobody uses it any more.
        if (fault?.step.activity !== 'deleteSharedImage') expectFailed(first, fault);
        expect(await imagesOf(world, snapshotId)).toEqual([]);
      },
    };
  },
};

describe('ShareSnapshot and UnshareSnapshot', () => {
  describeEveryStep({ ShareSnapshot: [share], UnshareSnapshot: [unshare] });
});
