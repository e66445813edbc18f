import { randomUUID } from 'node:crypto';
import type { EvictionResult, EvictorSignalName } from '../../workflows/contract/eviction';
import type { CreateVolumeResult } from '../../workflows/contract/volume';
import { describeEveryStep, type Act, type Scenario } from '../support/every-step/every-step';
import type { World } from '../support/every-step/world';
import { evictorOf } from '../support/stack/evictor';
import { until } from '../support/stack/flows';
import { type EntryRow } from '../../db/schema';

const ofFreeEntry: Scenario = {
  name: 'an eviction that was asked for',
  steps: ['readEvictorSettings', 'evictEntries'],
  prepare: async (world) => {
    const { volumeId } = await createAvailable(world);
    await world.remove(volumeId);
    return await actOf(world, { signals: ['evict'] });
  },
};

const ofHeldEntry: Scenario = {
  name: 'an eviction of a parent with a live clone',
  steps: ['readEvictorSettings', 'evictEntries', 'listClones', 'flattenVolume', 'deleteParent', 'listClones'],
  struck: ['evictEntries', 'listClones', 'flattenVolume', 'deleteParent'],
  prepare: async (world) => {
    const volume = await createAvailable(world);
    return await actOf(world, { signals: ['evict'], flatten: true, volume });
  },
};

const ofPin: Scenario = {
  name: 'a pin and a change of limits',
  steps: ['readEvictorSettings', 'applyPin', 'applyLimits', 'evictEntries'],
  struck: ['applyPin', 'applyLimits'],
  prepare: async (world) => {
    const volume = await createAvailable(world);
    return await actOf(world, { signals: ['pin', 'setLimits'], volume });
  },
};

describe('EvictImageCache', () => {
  describeEveryStep({ EvictImageCache: [ofFreeEntry, ofHeldEntry, ofPin] });
});

async function createAvailable(world: World): Promise<CreateVolumeResult> {
  const ending = await world.create();
  if (ending.kind !== 'done') throw new Error(`the create ended as ${JSON.stringify(ending)}`);
  return ending.result;
}

interface Asked {
  signals: EvictorSignalName[];
  flatten?: boolean;
  volume?: CreateVolumeResult;
}

/** A request that is answered with a failure is sent again: the next request finishes what the first has begun. */
async function actOf(world: World, { signals, flatten, volume }: Asked): Promise<Act> {
  const { client, backend, taskQueue } = world.stack;
  const workflowId = `evict/${randomUUID()}`;
  const evictor = evictorOf({ client, backend, taskQueue, workflowId });
  const { id: entryId } = await entryOf(world);
  const payloads: Partial<Record<EvictorSignalName, object>> = {
    evict: { entryId, ...(flatten && { flatten }) },
    pin: { entryId },
    setLimits: { limits: { keepSuperseded: 0 } },
  };
  const answers: EvictionResult[] = [];
  return {
    workflowId,
    run: async () => {
      for (const signal of signals) {
        const first = await evictor.ask(signal, payloads[signal]);
        answers.push(first.outcome === 'failed' ? await evictor.ask(signal, payloads[signal]) : first);
      }
      if (signals.includes('setLimits'))
        await until(
          'the sweep that follows',
          async () => (await evictor.hasEnded()) || (await evictor.status()).sweeps > 0,
        );
      await evictor.stop();
    },
    check: async () => {
      expect(answers.filter(({ outcome }) => outcome === 'failed')).toEqual([]);
      const entry = await entryOf(world);
      if (signals.includes('evict')) expect(entry.state).toBe('gone');
      else expect(entry).toMatchObject({ state: 'ready', pinned: true });
      if (volume) expect(await world.hasGuestBytes(volume)).toBe(true);
    },
  };
}

async function entryOf({ stack, cacheKey }: World): Promise<EntryRow> {
  const { inventory } = stack;
  const of = { shortKey: cacheKey.short };
  const [entry] = [...(await inventory.entries(of)), ...(await inventory.entries({ ...of, state: 'gone' }))];
  if (entry === undefined) throw new Error('the world has no entry');
  return entry;
}
