import { pin, setLimits, sweep, unpin } from '../../client/eviction';
import { reconcile } from '../../client/reconcile';
import { deleteVolume } from '../../client/volumes';
import { useStack } from '../support/stack/flows';
import { createShiftedClock } from '../support/machine/shifted-clock';

const SHIFTS_S = [3 * 3600, -3 * 3600];

const flow = useStack({
  workers: [],
  config: { schedules: { refresh: 'off', reconcile: 'off', evict: 'off', grace: '15m' } },
});

it.each(SHIFTS_S)(
  'a worker whose clock is %p seconds off pins, scores and judges ages as the database does',
  async (offS) => {
    const { stack } = flow;
    const clock = await createShiftedClock(flow.directory);
    clock.shift(offS);
    const worker = await stack.spawnWorker({ environment: clock.environment });
    await worker.ready;
    const { image } = await flow.upload(`clock ${offS}`);
    const volume = await flow.create(image);
    const target = { imageId: image.id };
    expect((await pin(stack.cache, target)).result).toMatchObject({ outcome: 'done' });
    expect((await unpin(stack.cache, target)).result).toMatchObject({ outcome: 'done' });
    expect((await setLimits(stack.cache, { limits: { maxCount: 40 } })).result).toMatchObject({ outcome: 'done' });
    expect((await sweep(stack.cache)).result.outcome).not.toBe('failed');
    // Its run does not run, and it is far younger than the grace.
    const { volumeId } = volume;
    await stack.database
      .sql`update volumes set state = 'deleting', state_before_delete = 'available', updated_at = now() where id = ${volumeId}`;
    const { result } = await reconcile(stack.cache, { backend: stack.backend }, { wait: true });
    expect(result.findings).toMatchObject([{ kind: 'stuck-deleting', object: volumeId, action: 'young' }]);
    await stack.database.sql`update volumes set state = 'available', state_before_delete = null where id = ${volumeId}`;
    await deleteVolume(stack.cache, volumeId);
    await worker.stop();
  },
);
