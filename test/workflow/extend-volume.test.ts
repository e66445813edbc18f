import { randomUUID } from 'node:crypto';
import { MiB } from '../../workflows/contract/bytes';
import type { ChangeAttachmentResult } from '../../workflows/contract/attachment';
import type { EventKind } from '../../workflows/contract/event-kinds';
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

/** There is no compute service: the faults strike the step that tells it, and the note that it could not be told. */
const ofServer: Scenario = {
  name: 'an extension of a volume that a server has',
  steps: ['beginExtend', 'growVolume', 'tellServers'],
  struck: ['tellServers'],
  prepare: async (world, fault) => {
    const created = resultOf(await world.create());
    const { volumeId } = created;
    const { ids } = world.stack;
    const server = { volumeId, change: 'create', connector: { host: 'h1' }, instanceId: randomUUID() } as const;
    const change = async (input: object) =>
      resultOf(
        await world.run<ChangeAttachmentResult>(
          workflowTypes.changeAttachment,
          ids.changeAttachment(volumeId, randomUUID()),
          input,
        ),
      );
    const { attachmentId } = await change(server);
    await change({ volumeId, change: 'complete', attachmentId });
    const workflowId = ids.extendVolume(volumeId, EXTENDED_BYTES);
    const input = { volumeId, sizeBytes: EXTENDED_BYTES };
    let ending: Ending<ExtendVolumeResult> | undefined;
    return {
      workflowId,
      run: async () => {
        ending = await world.run<ExtendVolumeResult>(workflowTypes.extendVolume, workflowId, input);
      },
      check: async () => {
        // It has grown, whoever knows.
        expect(ending).toMatchObject({ kind: 'done', result: input });
        expect(await sizeOf(created)).toBe(EXTENDED_BYTES);
        expect(await countEvents(world, volumeId)).toBe(1);
        const isUntold = fault?.kind.startsWith('fails') === true;
        expect(await countEvents(world, volumeId, 'volume.extend-failed')).toBe(isUntold ? 1 : 0);
      },
    };
  },
};

async function sizeOf({ connection }: CreateVolumeResult): Promise<number> {
  if (connection.driver !== 'file') throw new Error(`unexpected driver ${connection.driver}`);
  return (await readGuest({ filename: connection.path, format: connection.format })).sizeBytes;
}

async function countEvents({ stack }: World, volumeId: VolumeId, kind: EventKind = 'volume.extended'): Promise<number> {
  const query = { scope: 'all projects', volumeId, kind, limit: 10 } as const;
  return (await listEvents(stack.database, query)).length;
}

describe('ExtendVolume', () => {
  describeEveryStep({ ExtendVolume: [ofAvailable, ofServer] });
});
