import type { EntryId, VolumeId } from '../../workflows/contract/ids';
import type { CreateVolumeResult, DeleteVolumeResult } from '../../workflows/contract/volume';
import { describeEveryStep, type Act, type CaseFault, type Scenario } from '../support/every-step/every-step';
import { finalFailure } from '../support/every-step/faults';
import { newVolumeId, type Ending, type World } from '../support/every-step/world';
import { retireEntry } from '../../db/entries/retirement';

const ofAvailable: Scenario = {
  name: 'a delete of an available volume',
  steps: ['beginDelete', 'deleteVolume', 'finishDelete'],
  prepare: async (world, fault) => actOf(world, { fault, volumeId: (await createAvailable(world)).volumeId }),
};

const ofLastClone: Scenario = {
  name: "a delete of a retired parent's last clone",
  steps: ['beginDelete', 'deleteVolume', 'finishDelete', 'deleteParent'],
  struck: ['finishDelete', 'deleteParent'],
  prepare: async (world, fault) => {
    const { volumeId } = await createAvailable(world);
    const entryId = (await world.volume(volumeId))?.entryId as EntryId;
    const retired = await retireEntry(world.stack.database, { entryId, reason: 'superseded' });
    expect(retired).toEqual({ kind: 'retired', deletable: false });
    return actOf(world, { fault, volumeId });
  },
};

/** The create waits for a flight that is kept from its end until the delete has ended. */
const ofCreating: Scenario = {
  name: 'a delete of a volume that is creating',
  steps: ['beginDelete', 'cancelCreate', 'deleteVolume', 'finishDelete'],
  struck: ['beginDelete', 'cancelCreate', 'deleteVolume'],
  prepare: async (world, fault) => {
    const release = world.stack.faults.hold(world.flightId, 'registerEntry');
    const volumeId = newVolumeId();
    const creating = world.create(volumeId);
    await world.untilWaiting(volumeId);
    const act = actOf(world, { fault, volumeId });
    return {
      ...act,
      run: async () => {
        await act.run();
        release();
        expect(await creating).toEqual({ kind: 'cancelled' });
      },
    };
  },
};

describe('DeleteVolume', () => {
  describeEveryStep({ DeleteVolume: [ofAvailable, ofLastClone, ofCreating] });
});

async function createAvailable(world: World): Promise<CreateVolumeResult> {
  const ending = await world.create();
  if (ending.kind !== 'done') throw new Error(`the create ended as ${JSON.stringify(ending)}`);
  return ending.result;
}

/** A delete that failed or was cancelled is finished by the next one. */
function actOf(world: World, { fault, volumeId }: { fault?: CaseFault; volumeId: VolumeId }): Act {
  let first: Ending<DeleteVolumeResult> | undefined;
  return {
    workflowId: world.stack.ids.deleteVolume(volumeId),
    run: async () => {
      first = await world.remove(volumeId);
      if (first.kind !== 'done') expect(await world.remove(volumeId)).toMatchObject({ kind: 'done' });
    },
    check: async () => {
      if (fault?.kind.startsWith('fails') && fault.step.activity !== 'deleteParent')
        expect(first).toEqual({ kind: 'failed', type: finalFailure.type, message: finalFailure.message });
      else if (fault?.kind !== 'is-cancelled')
        expect(first).toMatchObject({ kind: 'done', result: { outcome: 'deleted' } });
      expect(await world.volume(volumeId)).toMatchObject({ state: 'deleted' });
    },
  };
}
