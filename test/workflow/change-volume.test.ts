import { randomUUID } from 'node:crypto';
import type { VolumeId } from '../../workflows/contract/ids';
import { workflowTypes } from '../../workflows/contract/names';
import type { ChangeVolumeResult } from '../../workflows/contract/volume-changes';
import { listEvents } from '../../db/events';
import { describeEveryStep, type Scenario } from '../support/every-step/every-step';
import { finalFailure } from '../support/every-step/faults';
import { resultOf, type Ending, type World } from '../support/every-step/world';

const change = { name: 'renamed', metadata: { a: '1', b: '2' }, unsetMetadata: ['gone'], bootable: false };

const ofAvailable: Scenario = {
  name: 'a change of a volume',
  steps: ['changeVolume'],
  prepare: async (world, fault) => {
    const { volumeId } = resultOf(await world.create(undefined, { metadata: { gone: 'x' } }));
    const workflowId = world.stack.ids.changeVolume(volumeId, randomUUID());
    let ending: Ending<ChangeVolumeResult> | undefined;
    return {
      workflowId,
      run: async () => {
        ending = await world.run(workflowTypes.changeVolume, workflowId, { volumeId, ...change });
      },
      check: async () => {
        const changed = { name: 'renamed', description: null, metadata: { a: '1', b: '2' }, bootable: false };
        if (fault?.kind.startsWith('fails'))
          expect(ending).toEqual({ kind: 'failed', type: finalFailure.type, message: finalFailure.message });
        else if (fault?.kind !== 'is-cancelled')
          expect(ending).toEqual({ kind: 'done', result: { volumeId, ...changed } });
        const row = await world.volume(volumeId);
        const before = { name: null, metadata: { gone: 'x' }, bootable: true };
        const isChanged = row?.name === 'renamed';
        // A run that did not end well has changed all of it or nothing.
        if (ending?.kind === 'done') expect(isChanged).toBe(true);
        expect(row).toMatchObject(isChanged ? changed : before);
        expect(await countChanges(world, volumeId)).toBe(isChanged ? 1 : 0);
      },
    };
  },
};

async function countChanges({ stack }: World, volumeId: VolumeId): Promise<number> {
  const query = { scope: 'all projects', volumeId, kind: 'volume.changed', limit: 10 } as const;
  return (await listEvents(stack.database, query)).length;
}

describe('ChangeVolume', () => {
  describeEveryStep([ofAvailable]);
});
