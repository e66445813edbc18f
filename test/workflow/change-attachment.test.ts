import { randomUUID } from 'node:crypto';
import type { ChangeAttachmentResult } from '../../workflows/contract/attachment';
import type { VolumeId } from '../../workflows/contract/ids';
import { workflowTypes } from '../../workflows/contract/names';
import { listAttachmentsOf } from '../../db/attachments';
import { listEvents } from '../../db/events';
import { describeEveryStep, type Scenario } from '../support/every-step/every-step';
import { finalFailure } from '../support/every-step/faults';
import { resultOf, type Ending, type World } from '../support/every-step/world';

const connector = { host: 'h1' };

const ofAvailable: Scenario = {
  name: 'an attachment of a volume',
  steps: ['changeAttachment'],
  prepare: async (world, fault) => {
    const { volumeId } = resultOf(await world.create());
    const { ids } = world.stack;
    const workflowId = ids.changeAttachment(volumeId, randomUUID());
    let ending: Ending<ChangeAttachmentResult> | undefined;
    return {
      workflowId,
      run: async () => {
        ending = await world.run(workflowTypes.changeAttachment, workflowId, { volumeId, change: 'create', connector });
      },
      check: async () => {
        const attachments = await listAttachmentsOf(world.stack.database, [volumeId]);
        const [attachment] = attachments;
        const row = await world.volume(volumeId);
        if (fault?.kind.startsWith('fails'))
          expect(ending).toEqual({ kind: 'failed', type: finalFailure.type, message: finalFailure.message });
        else if (fault?.kind !== 'is-cancelled')
          expect(ending).toEqual({
            kind: 'done',
            result: { volumeId, attachmentId: attachment?.id, status: 'attaching' },
          });
        // A run that did not end well has done all of it or nothing.
        const isMade = attachment !== undefined;
        if (ending?.kind === 'done') expect(isMade).toBe(true);
        expect(attachments).toHaveLength(isMade ? 1 : 0);
        const held = isMade ? { status: 'attaching', attachedTo: 'host h1' } : { status: null, attachedTo: null };
        expect(row).toMatchObject(held);
        expect(await countEvents(world, volumeId)).toBe(isMade ? 1 : 0);
      },
    };
  },
};

async function countEvents({ stack }: World, volumeId: VolumeId): Promise<number> {
  const query = { scope: 'all projects', volumeId, kind: 'volume.attaching', limit: 10 } as const;
  return (await listEvents(stack.database, query)).length;
}

describe('ChangeAttachment', () => {
  describeEveryStep({ ChangeAttachment: [ofAvailable] });
});
