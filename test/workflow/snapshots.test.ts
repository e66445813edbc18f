import { randomUUID } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { retireEntry } from '../../db/entries/retirement';
import { findSnapshot } from '../../db/snapshots';
import type { EntryId, SnapshotId, VolumeId } from '../../workflows/contract/ids';
import { workflowTypes } from '../../workflows/contract/names';
import type { CreateSnapshotResult, DeleteSnapshotResult } from '../../workflows/contract/snapshot';
import type { DeleteVolumeResult } from '../../workflows/contract/volume';
import { describeEveryStep, type Act, type CaseFault, type Scenario } from '../support/every-step/every-step';
import { finalFailure } from '../support/every-step/faults';
import { resultOf, type Ending, type World } from '../support/every-step/world';

const failed = { kind: 'failed', type: finalFailure.type, message: finalFailure.message };

const ofVolume: Scenario = {
  name: 'a snapshot of a volume',
  steps: ['admitSnapshot', 'takeSnapshot'],
  prepare: async (world, fault) => {
    const { volumeId } = resultOf(await world.create());
    const snapshotId = newSnapshotId();
    let first: Ending<CreateSnapshotResult> | undefined;
    return {
      workflowId: world.stack.ids.createSnapshot(snapshotId),
      run: async () => {
        first = await take(world, { volumeId, snapshotId });
        if (first.kind === 'failed')
          expect(await take(world, { volumeId, snapshotId })).toMatchObject({ kind: 'done' });
      },
      check: async () => {
        if (fault?.kind.startsWith('fails')) expect(first).toEqual(failed);
        else if (fault?.kind !== 'is-cancelled') expect(first).toMatchObject({ kind: 'done', result: { snapshotId } });
        const row = await rowOf(world, snapshotId);
        if (first?.kind === 'cancelled') expect([undefined, 'deleted']).toContain(row?.state);
        else expect(row).toMatchObject({ state: 'available', volumeId, holdsEntry: true });
      },
    };
  },
};

const deletion: Scenario = {
  name: 'a delete of a snapshot',
  steps: ['beginDeleteSnapshot', 'deleteSnapshotBytes', 'finishDeleteSnapshot'],
  prepare: async (world, fault) => deleteAct(world, { fault, ...(await takeOfNew(world)) }),
};

/** Its volume was deleted by an operator's hand: it alone holds what it needs. */
const lastHolder: Scenario = {
  name: 'a delete of what holds a retired parent last',
  steps: ['beginDeleteSnapshot', 'deleteSnapshotBytes', 'finishDeleteSnapshot', 'deleteParent'],
  struck: ['finishDeleteSnapshot', 'deleteParent'],
  prepare: async (world, fault) => {
    const taken = await takeOfNew(world);
    const { database, volumesDirectory } = world.stack;
    const entryId = (await world.volume(taken.volumeId))?.entryId as EntryId;
    await retireEntry(database, { entryId, reason: 'superseded' });
    await database.sql`update volumes set holds_entry = false, state = 'deleted', connection = null where id = ${taken.volumeId}`;
    await database.sql`update cache_entries set clones = clones - 1 where id = ${entryId}`;
    await rm(join(volumesDirectory, 'volumes', `${taken.volumeId}.qcow2`));
    return deleteAct(world, { fault, ...taken });
  },
};

const cascade: Scenario = {
  name: 'a delete of a volume with its snapshot',
  steps: [
    'beginDelete',
    'beginDeleteSnapshot',
    'deleteSnapshotBytes',
    'finishDeleteSnapshot',
    'beginDelete',
    'deleteVolume',
    'finishDelete',
  ],
  prepare: async (world, fault) => {
    const { volumeId, snapshotId } = await takeOfNew(world);
    const remove = async () =>
      await world.run<DeleteVolumeResult>(workflowTypes.deleteVolume, world.stack.ids.deleteVolume(volumeId), {
        volumeId,
        cascade: true,
      });
    let first: Ending<DeleteVolumeResult> | undefined;
    return {
      workflowId: world.stack.ids.deleteVolume(volumeId),
      run: async () => {
        first = await remove();
        if (first.kind !== 'done') expect(await remove()).toMatchObject({ kind: 'done' });
      },
      check: async () => {
        if (fault?.kind.startsWith('fails')) expect(first).toEqual(failed);
        else if (fault?.kind !== 'is-cancelled')
          expect(first).toMatchObject({ kind: 'done', result: { outcome: 'deleted', deletedSnapshots: [snapshotId] } });
        expect(await world.volume(volumeId)).toMatchObject({ state: 'deleted' });
        expect(await rowOf(world, snapshotId)).toMatchObject({ state: 'deleted' });
      },
    };
  },
};

describe('CreateSnapshot, DeleteSnapshot and DeleteVolume with snapshots', () => {
  describeEveryStep({ CreateSnapshot: [ofVolume], DeleteSnapshot: [deletion, lastHolder], DeleteVolume: [cascade] });
});

function deleteAct(
  world: World,
  { fault, snapshotId }: { fault?: CaseFault; snapshotId: SnapshotId; volumeId: VolumeId },
): Act {
  const workflowId = world.stack.ids.deleteSnapshot(snapshotId);
  const remove = async () =>
    await world.run<DeleteSnapshotResult>(workflowTypes.deleteSnapshot, workflowId, { snapshotId });
  let first: Ending<DeleteSnapshotResult> | undefined;
  return {
    workflowId,
    run: async () => {
      first = await remove();
      if (first.kind !== 'done') expect(await remove()).toMatchObject({ kind: 'done' });
    },
    check: async () => {
      if (fault?.kind.startsWith('fails') && fault.step.activity !== 'deleteParent') expect(first).toEqual(failed);
      else if (fault?.kind !== 'is-cancelled')
        expect(first).toMatchObject({ kind: 'done', result: { outcome: 'deleted' } });
      expect(await rowOf(world, snapshotId)).toMatchObject({ state: 'deleted', holdsEntry: false });
    },
  };
}

async function takeOfNew(world: World): Promise<{ volumeId: VolumeId; snapshotId: SnapshotId }> {
  const { volumeId } = resultOf(await world.create());
  const snapshotId = newSnapshotId();
  resultOf(await take(world, { volumeId, snapshotId }));
  return { volumeId, snapshotId };
}

async function take(world: World, { volumeId, snapshotId }: { volumeId: VolumeId; snapshotId: SnapshotId }) {
  const workflowId = world.stack.ids.createSnapshot(snapshotId);
  return await world.run<CreateSnapshotResult>(workflowTypes.createSnapshot, workflowId, { volumeId, name: 'before' });
}

async function rowOf(world: World, snapshotId: SnapshotId) {
  return await findSnapshot(world.stack.database, { snapshotId, scope: 'all projects' });
}

function newSnapshotId(): SnapshotId {
  return randomUUID() as SnapshotId;
}
