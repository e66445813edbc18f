import { deleteVolume } from '../../client/volumes';
import type { EntryId } from '../../workflows/contract/ids';
import type { Image } from '../../workflows/contract/image';
import { evictorOf } from '../support/stack/evictor';
import { expectCleanSlate, until, useStack } from '../support/stack/flows';
import { retireEntry } from '../../db/entries/retirement';

/** Everything that may happen to a cache happens at once until each has happened so often. */
const ENOUGH = 20;
const LOOK_INTERVAL_MS = 200;
const MAX_COUNT = 3;
const HOT_IMAGES = 4;

const flow = useStack({ cache: { maxCount: MAX_COUNT, maxBytes: '64MiB' } });

/** The same choices in every run, as far as the machine lets them. */
function choices(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

it('creates, deletes, evictions, flattening, pins and changes of content at once: no create fails, no leased parent goes, limits hold, nothing stays behind', async () => {
  const { client, cache, backend, database } = flow.stack;
  const place = { client, backend, taskQueue: cache.queues.control, workflowId: cache.queues.ids.evict(backend) };
  const evictor = evictorOf(place, { sweepIntervalMs: 1000 });
  const hot: Image[] = [];
  for (let index = 0; index < HOT_IMAGES; index += 1) hot.push((await flow.upload(`hot-${index}`)).image);
  const living: string[] = [];
  const done = { creates: 0, deletes: 0, evictions: 0, pins: 0, retired: 0, looks: 0 };
  const isOver = (): boolean => Object.values(done).every((count) => count >= ENOUGH);

  const create = async (image: Image): Promise<void> => {
    living.push((await flow.create(image)).volumeId);
    done.creates += 1;
  };
  const createHot = async (seed: number): Promise<void> => {
    for (const choose = choices(seed); !isOver();) await create(hot[choose(HOT_IMAGES)] as Image);
  };
  const createCold = async (): Promise<void> => {
    for (let index = 0; !isOver(); index += 1) await create((await flow.upload(`cold-${index}`)).image);
  };
  const remove = async (seed: number): Promise<void> => {
    for (const choose = choices(seed); !isOver();) {
      await until('a volume to delete', async () => living.length > 4 || isOver());
      const [volumeId] = living.splice(choose(living.length), 1);
      if (volumeId === undefined) continue;
      // One that is being flattened may be open for a moment.
      await deleteVolume(cache, volumeId).then(
        () => (done.deletes += 1),
        () => living.push(volumeId),
      );
    }
  };
  const evict = async (seed: number): Promise<void> => {
    for (const choose = choices(seed); !isOver();) {
      const imageId = (hot[choose(HOT_IMAGES)] as Image).id;
      const requests = [
        { imageId },
        { count: 1 },
        { bytes: 1_000_000 },
        { imageId, flatten: true },
        { count: 2, dryRun: true },
      ];
      await evictor.ask('evict', requests[choose(requests.length)]);
      done.evictions += 1;
    }
  };
  const pin = async (seed: number): Promise<void> => {
    for (const choose = choices(seed); !isOver();) {
      const { id: imageId } = hot[choose(HOT_IMAGES)] as Image;
      await evictor.ask('pin', { imageId });
      await evictor.ask('unpin', { imageId });
      done.pins += 1;
    }
  };
  const retire = async (): Promise<void> => {
    while (!isOver()) {
      const [entry] = await database.sql<{ id: EntryId }[]>`
          select id from cache_entries where state = 'ready' and not pinned order by random() limit 1`;
      if (entry) {
        await retireEntry(database, { entryId: entry.id, reason: 'superseded' });
        done.retired += 1;
      }
      await new Promise((resolve) => setTimeout(resolve, 5 * LOOK_INTERVAL_MS));
    }
  };
  const faults: unknown[] = [];
  const look = async (): Promise<void> => {
    while (!isOver()) {
      const used = await flow.stack.inventory.sums();
      if (used.count > MAX_COUNT || used.bytes > 64 * 1024 ** 2) faults.push(used);
      // A lease and its entry's state are of one moment in one statement.
      const lost = await database.sql`select v.id, e.state from volumes v join cache_entries e on e.id = v.entry_id
          where v.holds_entry and v.state in ('creating', 'available') and e.state in ('deleting', 'gone')`;
      faults.push(...lost);
      done.looks += 1;
      await new Promise((resolve) => setTimeout(resolve, LOOK_INTERVAL_MS));
    }
  };

  await evictor.ask('sweep');
  await Promise.all([
    createHot(1),
    createHot(2),
    createHot(3),
    createCold(),
    remove(4),
    remove(5),
    evict(6),
    pin(7),
    pin(8),
    retire(),
    look(),
  ]);
  expect(faults).toEqual([]);

  await Promise.all(living.map((volumeId) => deleteVolume(cache, volumeId)));
  await until('nothing to be evicted any more', async () => {
    const { outcome } = await evictor.ask('evict', { count: 1000 });
    return outcome !== 'failed' && (await flow.stack.inventory.entries()).length === 0;
  });
  await evictor.stop();
  await expectCleanSlate(flow.stack);
  const [failed] = await database.sql<
    { failed: number }[]
  >`select count(*)::int as failed from decisions where outcome in ('failed', 'refused')`;
  expect(failed).toEqual({ failed: 0 });
});
