import { listEvents } from '../../db/events';
import type { ReimageVolumeResult } from '../../workflows/contract/volume-changes';
import { workflowTypes } from '../../workflows/contract/names';
import { describeEveryStep, type Scenario } from '../support/every-step/every-step';
import { finalFailure } from '../support/every-step/faults';
import { resultOf, type Ending } from '../support/every-step/world';
import { writeAsGuest } from '../support/images/qemu';

const reimaging = (bypassCache: boolean): Pick<Scenario, 'prepare'> => ({
  prepare: async (world, fault) => {
    const created = resultOf(await world.create());
    const { volumeId, connection } = created;
    if (connection.driver !== 'file') throw new Error(`unexpected driver ${connection.driver}`);
    await writeAsGuest({ filename: connection.path, format: connection.format }, { offset: 0 });
    expect(await world.hasGuestBytes(created)).toBe(false);
    const workflowId = world.stack.ids.reimageVolume(volumeId, world.image.id);
    const input = { volumeId, imageId: world.image.id, bypassCache };
    const reimage = () => world.run<ReimageVolumeResult>(workflowTypes.reimageVolume, workflowId, input);
    let first: Ending<ReimageVolumeResult> | undefined;
    return {
      workflowId,
      run: async () => {
        first = await reimage();
        if (first.kind === 'done') return;
        // It is what it was; then the next one is done.
        expect(await world.volume(volumeId)).toMatchObject({ state: 'available', contentId: null });
        expect(await world.hasGuestBytes(created)).toBe(false);
        expect(await reimage()).toMatchObject({ kind: 'done' });
      },
      check: async () => {
        if (fault?.kind.startsWith('fails'))
          expect(first).toEqual({ kind: 'failed', type: finalFailure.type, message: finalFailure.message });
        if (fault === undefined) expect(first).toMatchObject({ result: { volumeId, imageId: world.image.id } });
        const volume = await world.volume(volumeId);
        expect(volume).toMatchObject({ state: 'available', holdsEntry: !bypassCache });
        expect(await world.hasGuestBytes({ ...created, connection: volume?.connection ?? connection })).toBe(true);
        const query = { scope: 'all projects', volumeId, kind: 'volume.reimaged', limit: 10 } as const;
        expect(await listEvents(world.stack.database, query)).toHaveLength(1);
      },
    };
  },
});

const ofCached: Scenario = {
  name: 'a reimage of a volume',
  steps: ['beginReimage', 'openWarming', 'replaceBytes'],
  ...reimaging(false),
};

const bypassing: Scenario = {
  name: 'a bypassing reimage of a volume',
  steps: ['beginReimage', 'pickHost', 'downloadToScratch', 'writeReimage'],
  struck: ['writeReimage'],
  ...reimaging(true),
};

describe('ReimageVolume', () => {
  describeEveryStep({ ReimageVolume: [ofCached, bypassing] });
});
