import { randomUUID } from 'node:crypto';
import type { VolumeRow } from '../../db/schema';
import { selectSnapshots } from '../../db/snapshots';
import { MiB } from '../../workflows/contract/bytes';
import type { SnapshotId } from '../../workflows/contract/ids';
import { workflowTypes } from '../../workflows/contract/names';
import type { CreateSnapshotResult } from '../../workflows/contract/snapshot';
import type { CreatePlainVolumeInput, CreateVolumeResult } from '../../workflows/contract/volume';
import { describeEveryStep, type Act, type CaseFault, type Scenario } from '../support/every-step/every-step';
import { finalFailure } from '../support/every-step/faults';
import { newVolumeId, resultOf, type Ending, type World } from '../support/every-step/world';

const blank: Scenario = {
  name: 'an empty volume',
  steps: ['admitPlainVolume', 'makePlainVolume'],
  prepare: (world, fault) =>
    Promise.resolve(
      actOf(world, {
        fault,
        input: { sizeBytes: MiB },
        made: { outcome: 'blank', bootable: false, holdsEntry: false },
      }),
    ),
};

const ofSnapshot: Scenario = {
  name: 'a volume of a snapshot',
  steps: ['admitPlainVolume', 'makePlainVolume'],
  struck: ['makePlainVolume'],
  prepare: async (world, fault) => {
    const { volumeId } = resultOf(await world.create());
    const snapshotId = randomUUID() as SnapshotId;
    const taken = await world.run<CreateSnapshotResult>(
      workflowTypes.createSnapshot,
      world.stack.ids.createSnapshot(snapshotId),
      { volumeId },
    );
    expect(taken).toMatchObject({ kind: 'done' });
    return actOf(world, { fault, input: { snapshotId }, made: copied });
  },
};

const ofVolume: Scenario = {
  name: 'a copy of a volume',
  steps: [
    'admitPlainVolume',
    'admitSnapshot',
    'takeSnapshot',
    'makePlainVolume',
    'beginDeleteSnapshot',
    'deleteSnapshotBytes',
    'finishDeleteSnapshot',
  ],
  prepare: async (world, fault) => {
    const { volumeId: sourceVolumeId } = resultOf(await world.create());
    const act = actOf(world, { fault, input: { sourceVolumeId }, made: copied });
    const { database, ids } = world.stack;
    const left = async () => {
      const snapshots = await selectSnapshots(database, {
        scope: 'all projects',
        volumeId: sourceVolumeId,
        limit: 10,
      });
      return snapshots.filter(({ state }) => state !== 'error');
    };
    return {
      ...act,
      run: async () => {
        await act.run();
        if (fault === undefined || !fault.kind.startsWith('fails') || !isAfterTheVolume(fault)) return;
        // The volume is there; the snapshot that could not be deleted stays, for its project or the reconciler to delete.
        for (const { id: snapshotId } of await left())
          expect(
            await world.run(workflowTypes.deleteSnapshot, ids.deleteSnapshot(snapshotId), { snapshotId }),
          ).toMatchObject({ kind: 'done' });
      },
      check: async () => {
        await act.check();
        expect(await left()).toEqual([]);
      },
    };
  },
};

const copied: Partial<VolumeRow> = { outcome: 'copied', bootable: true, holdsEntry: true };

describe('CreateVolume', () => {
  describeEveryStep({ CreateVolume: [blank, ofSnapshot, ofVolume] });
});

/** Steps on the snapshot that was made for the volume of the copy alone. */
const afterTheVolume = ['beginDeleteSnapshot', 'deleteSnapshotBytes', 'finishDeleteSnapshot'];

function isAfterTheVolume({ step }: CaseFault): boolean {
  return afterTheVolume.includes(step.activity);
}

/** A create that failed is finished by the next one. */
function actOf(
  world: World,
  { fault, input, made }: { fault?: CaseFault; input: Partial<CreatePlainVolumeInput>; made: Partial<VolumeRow> },
): Act {
  const volumeId = newVolumeId();
  const { backend, ids } = world.stack;
  const workflowId = ids.createVolume(volumeId);
  const create = async () => {
    const request = { ...('sizeBytes' in input ? { backend } : {}), ...input };
    return await world.run<CreateVolumeResult>(workflowTypes.createVolume, workflowId, request);
  };
  let first: Ending<CreateVolumeResult> | undefined;
  return {
    workflowId,
    run: async () => {
      first = await create();
      if (first.kind === 'failed') expect(await create()).toMatchObject({ kind: 'done' });
    },
    check: async () => {
      const isAfter = fault !== undefined && isAfterTheVolume(fault);
      if (fault?.kind.startsWith('fails') && !isAfter)
        expect(first).toEqual({ kind: 'failed', type: finalFailure.type, message: finalFailure.message });
      else if (fault?.kind !== 'is-cancelled') expect(first).toMatchObject({ kind: 'done', result: { volumeId } });
      const row = await world.volume(volumeId);
      if (first?.kind === 'cancelled') expect([undefined, 'deleted']).toContain(row?.state);
      else {
        expect(row).toMatchObject({ state: 'available', ...made });
        if (made.outcome === 'copied' && row?.connection)
          expect(await world.hasGuestBytes({ connection: row.connection })).toBe(true);
      }
    },
  };
}
