import { expectCleanSlate } from '../../support/stack/flows';
import { useStackWithOwnDatabase } from '../../support/stack/own-database';

const WAITING = 6;
const ADMITTED_MEANWHILE = 4;

const { flow, server, restart } = useStackWithOwnDatabase();

describe('a PostgreSQL that is restarted in the middle of creates', () => {
  it('fails none of them: those that wait, those that clone and those that come while it is down', async () => {
    const cached = await flow.upload('cached');
    await flow.create(cached.image);
    const cold = await flow.upload('cold');
    await flow.stack.imageService.inject({ kind: 'status-503', on: 'file', imageId: cold.image.id, times: 1_000_000 });
    const waiting = await Promise.all(Array.from({ length: WAITING }, () => flow.start(cold.image)));
    for (const { volumeId } of waiting) await flow.untilWaiting(volumeId);
    const hits = await Promise.all(Array.from({ length: ADMITTED_MEANWHILE }, () => flow.start(cached.image)));

    await server().stop();
    await flow.stack.imageService.clearFaults();
    const late = await Promise.all(Array.from({ length: ADMITTED_MEANWHILE }, () => flow.start(cached.image)));
    await flow.until('a create to meet the stopped database', async () => {
      const { raw } = (await late[0]?.handle.describe()) ?? {};
      return raw?.pendingActivities?.some(({ attempt }) => (attempt ?? 0) > 1);
    });
    await restart();

    const volumes = await Promise.all([...waiting, ...hits, ...late].map(({ result }) => result()));
    expect(volumes.map(({ outcome }) => outcome).filter((outcome) => outcome === 'hit')).toHaveLength(
      2 * ADMITTED_MEANWHILE,
    );
    for (const { imageId, connection } of volumes) {
      const { sample } = imageId === cold.image.id ? cold : cached;
      await flow.expectGuestBytes(sample, { connection });
    }
    expect(await flow.stack.imageService.counters(cold.image.id)).toMatchObject({ bytesServed: cold.image.sizeBytes });
    await expectCleanSlate(flow.stack);
  });
});
