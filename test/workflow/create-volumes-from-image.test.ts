import { randomUUID } from 'node:crypto';
import { describeEveryStep, type Act, type CaseFault, type Scenario } from '../support/every-step/every-step';
import { finalFailure } from '../support/every-step/faults';
import { newVolumeId, type Ending, type World } from '../support/every-step/world';
import { workflowTypes } from '../../workflows/contract/names';
import type { CreateVolumesInput, CreateVolumesResult, FailurePolicy } from '../../workflows/contract/volume';

const VOLUMES = 3;

const hits: Scenario = {
  name: 'a bulk create of a cached image',
  steps: ['admitVolumes', 'cloneVolumes'],
  prepare: async (world, fault) => {
    expect(await world.create()).toMatchObject({ kind: 'done' });
    return actOf(world, { fault, onFailure: 'keep' });
  },
};

const misses: Scenario = {
  name: 'a bulk create of a cold image',
  steps: ['admitVolumes', 'cloneVolumes', 'joinPopulation', 'awaitVerdict', 'cloneVolumes'],
  prepare: (world, fault) => Promise.resolve(actOf(world, { fault, onFailure: 'keep' })),
};

const allOrNone: Scenario = {
  ...misses,
  name: 'a bulk create of all or none',
  struck: ['cloneVolumes'],
  prepare: (world, fault) => Promise.resolve(actOf(world, { fault, onFailure: 'undo' })),
};

describe('CreateVolumesFromImage', () => {
  describeEveryStep({ CreateVolumesFromImage: [hits, misses, allOrNone] });
});

function actOf(world: World, { fault, onFailure }: { fault?: CaseFault; onFailure: FailurePolicy }): Act {
  const { ids, backend } = world.stack;
  const volumeIds = Array.from({ length: VOLUMES }, newVolumeId);
  const workflowId = ids.createVolumes(randomUUID());
  let ending: Ending<CreateVolumesResult> | undefined;
  // A refusal writes its decision record itself, so it must be a real one.
  const isRefused = fault?.kind === 'fails' && fault.step.activity === 'admitVolumes';
  return {
    failsByItself: isRefused,
    workflowId,
    run: async () => {
      const imageId = isRefused ? randomUUID() : world.image.id;
      const input: CreateVolumesInput = { imageId, backend, volumeIds, onFailure };
      ending = await world.run<CreateVolumesResult>(workflowTypes.createVolumesFromImage, workflowId, input);
    },
    check: async () => {
      if (!ending) throw new Error('the create did not run');
      const rows = await Promise.all(volumeIds.map((volumeId) => world.volume(volumeId)));
      const states = [...new Set(rows.map((row) => row?.state))];
      if (isRefused) {
        expect(ending).toMatchObject({ kind: 'failed', type: 'ImageNotFound' });
        expect(states).toEqual([undefined]);
        return;
      }
      const decisions = await Promise.all(volumeIds.map((volumeId) => world.stack.inventory.decisions(volumeId)));
      expect(decisions.map((of) => of.length)).toEqual(volumeIds.map(() => 1));
      // A cancel that comes when the work is done changes nothing.
      if (fault?.kind === 'is-cancelled' && ending.kind !== 'done') {
        expect(ending).toEqual({ kind: 'cancelled' });
        expect(states).toEqual(['deleted']);
      } else if (fault?.kind.startsWith('fails')) {
        const { type, message } = finalFailure;
        expect(ending).toEqual({ kind: 'failed', type, message });
        expect(rows).toMatchObject(volumeIds.map(() => ({ state: 'error', errorType: type, errorMessage: message })));
      } else {
        if (ending.kind !== 'done') throw new Error(`a run that was to be done is ${JSON.stringify(ending)}`);
        expect(ending.result.volumes.map(({ volumeId }) => volumeId)).toEqual(volumeIds);
        expect(states).toEqual(['available']);
        for (const volume of ending.result.volumes) expect(await world.hasGuestBytes(volume)).toBe(true);
      }
    },
  };
}
