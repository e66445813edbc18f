import { MiB } from '../../workflows/contract/bytes';
import type { VolumeId } from '../../workflows/contract/ids';
import { workflowTypes } from '../../workflows/contract/names';
import type { CreateVolumeResult } from '../../workflows/contract/volume';
import type { ExtendVolumeResult } from '../../workflows/contract/volume-changes';
import { listEvents } from '../../db/events';
import { describeEveryStep, type Scenario } from '../support/every-step/every-step';
import { finalFailure } from '../support/every-step/faults';
import { resultOf, type Ending, type World } from '../support/every-step/world';
import { readGuest } from '../support/images/qemu';

const EXTENDED_BYTES = 8 * MiB;

const ofAvailable: Scenario = {
  name: 'an extension of a volume',
  steps: ['beginExtend', 'growVolume'],
  prepare: async (world, fault) => {
    const created = resultOf(await world.create());
    const { volumeId, sizeBytes: formerSizeBytes } = created;
    const workflowId = world.stack.ids.extendVolume(volumeId, EXTENDED_BYTES);
    let first: Ending<ExtendVolumeResult> | undefined;
    const extend = () =>
      world.run<ExtendVolumeResult>(workflowTypes.extendVolume, workflowId, { volumeId, sizeBytes: EXTENDED_BYTES });
    return {
      workflowId,
      run: async () => {
        first = await extend();
        if (first.kind === 'done') return;
        // The row promises nothing that the volume does not have; then the next one is done.
        expect(await world.volume(volumeId)).toMatchObject({ state: 'available', sizeBytes: await sizeOf(created) });
        expect(await extend()).toMatchObject({ kind: 'done' });
      },
      check: async () => {
        if (fault?.kind.startsWith('fails'))
          expect(first).toEqual({ kind: 'failed', type: finalFailure.type, message: finalFailure.message });
        else if (fault?.kind !== 'is-cancelled')
          expect(first).toMatchObject({
            kind: 'done',
            result: { volumeId, sizeBytes: EXTENDED_BYTES, openedBy: null },
          });
        if (fault === undefined) expect(first).toMatchObject({ result: { formerSizeBytes } });
        expect(await world.volume(volumeId)).toMatchObject({ state: 'available', sizeBytes: EXTENDED_BYTES });
        expect(await sizeOf(created)).toBe(EXTENDED_BYTES);
        expect(await world.hasGuestBytes(created)).toBe(true);
        expect(await countEvents(world, volumeId)).toBe(1);
      },
    };
  },
};

async function sizeOf({ connection }: CreateVolumeResult): Promise<number> {
  if (connection.driver !== 'file') throw new Error(`unexpected driver ${connection.driver}`);
  return (await readGuest({ filename: connection.path, format: connection.format })).sizeBytes;
}

async function countEvents({ stack }: World, volumeId: VolumeId): Promise<number> {
  const query = { scope: 'all projects', volumeId, kind: 'volume.extended', limit: 10 } as const;
  return (await listEvents(stack.database, query)).length;
}

describe('ExtendVolume', () => {
  describeEveryStep({ ExtendVolume: [ofAvailable] });
});
