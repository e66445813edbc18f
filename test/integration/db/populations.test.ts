import { answerFlight, updateFlightRun, findFlight, forgetWaiters, waitersOf } from '../../../db/flights';
import { joinFlight, openFlight } from '../../../db/join-flight';
import { insertVolume, markFailed } from '../../../db/creates';
import { markDeleting, findVolume } from '../../../db/volumes';
import { acquireEntry } from '../../../db/acquire';
import type { Verdict } from '../../../workflows/contract/population';
import { useInventory } from '../../support/database/database';
import {
  admittance,
  admitted,
  BACKEND,
  cacheKey,
  DECISION,
  IMAGE,
  readyEntry,
  registerLocal,
  joining,
} from '../../support/database/rows';

const { database } = useInventory(registerLocal);

const key = cacheKey('debian 12');
const flightKey = { backend: BACKEND, shortKey: key.short };
const noRoom: Verdict = { kind: 'bypass', reason: 'no-room' };
const failed = (type: 'ImageRefused' | 'BackendUnavailable'): Verdict => ({
  kind: 'failed',
  failure: { type, message: 'no', details: type === 'ImageRefused' ? { bytesVerified: true } : {} },
  imageId: IMAGE,
});
/** Refused by its first bytes, whose hash was not known. */
const unproven: Verdict = {
  kind: 'failed',
  failure: { type: 'ImageRefused', message: 'no', details: {} },
  imageId: IMAGE,
};

async function answer(flight: number, verdict: Verdict): Promise<void> {
  const runId = `run of flight ${flight}`;
  await updateFlightRun(database, { ...flightKey, runId });
  expect(await answerFlight(database, { ...flightKey, flight, runId, verdict })).toBe(true);
}

describe('joinFlight', () => {
  test('makes the first the leader and the others joiners, and repeats each role', async () => {
    const [leader, joiner] = [await admitted(database, key), await admitted(database, key)];
    for (let time = 0; time < 2; time += 1) {
      expect(await joinFlight(database, joining(leader, key))).toEqual({
        kind: 'waiting',
        flight: 1,
        role: 'leader',
        runId: null,
        answeredRunId: null,
      });
      expect(await joinFlight(database, joining(joiner, key, { activityId: `${time}` }))).toMatchObject({
        flight: 1,
        role: 'joined',
      });
    }
    expect(await findVolume(database, { volumeId: joiner.id, scope: 'all projects' })).toMatchObject({
      waitsForFlight: 1,
      activityId: '1',
    });
  });

  test('gives a verdict only to those who waited for its flight; the next caller leads another', async () => {
    const [waiter, late, latest] = [
      await admitted(database, key),
      await admitted(database, key),
      await admitted(database, key),
    ];
    await joinFlight(database, joining(waiter, key));
    await answer(1, noRoom);
    expect(await joinFlight(database, joining(waiter, key))).toEqual({ kind: 'answered', flight: 1, verdict: noRoom });
    expect(await joinFlight(database, joining(late, key))).toEqual({
      kind: 'waiting',
      flight: 2,
      role: 'leader',
      runId: null,
      answeredRunId: 'run of flight 1',
    });
    expect(await joinFlight(database, joining(latest, key))).toMatchObject({ flight: 2, role: 'joined' });
    expect(await joinFlight(database, joining(waiter, key))).toMatchObject({ flight: 2, role: 'joined' });
    expect(await findFlight(database, flightKey)).toMatchObject({
      flight: 2,
      runId: null,
      answered: false,
      leaderVolumeId: late.id,
    });
  });

  test('remembers a refusal by policy under the same version of the policy, and nothing else', async () => {
    await joinFlight(database, joining(await admitted(database, key), key));
    await answer(1, failed('ImageRefused'));
    const late = await admitted(database, key);
    expect(await joinFlight(database, joining(late, key))).toEqual({
      kind: 'remembered',
      verdict: failed('ImageRefused'),
    });
    expect(await joinFlight(database, joining(late, key, { policyVersion: 'p2' }))).toMatchObject({
      kind: 'waiting',
      flight: 2,
      role: 'leader',
    });
    await answer(2, failed('BackendUnavailable'));
    expect(await joinFlight(database, joining(await admitted(database, key), key))).toMatchObject({
      kind: 'waiting',
      flight: 3,
    });
  });

  test('remembers no refusal of bytes whose hash was not known: they may have been damaged', async () => {
    await joinFlight(database, joining(await admitted(database, key), key));
    await answer(1, unproven);
    expect(await joinFlight(database, joining(await admitted(database, key), key))).toMatchObject({
      kind: 'waiting',
      flight: 2,
    });
    await answer(2, unproven);
    expect(await openFlight(database, { backend: BACKEND, key, imageId: IMAGE, policyVersion: 'p1' })).toMatchObject({
      kind: 'open',
      flight: 3,
    });
  });

  test('refuses another key with the same short key', async () => {
    await joinFlight(database, joining(await admitted(database, key), key));
    const colliding = cacheKey('something else', { short: key.short });
    expect(await joinFlight(database, joining(await admitted(database, key), colliding))).toEqual({
      kind: 'collision',
    });
  });

  test('refuses a volume that is not creating or belongs to another run, and leaves no flight behind', async () => {
    const volume = await admitted(database, key);
    expect(await joinFlight(database, joining(volume, key, { runId: 'dead' }))).toEqual({
      kind: 'not-creating',
      state: 'creating',
    });
    await markDeleting(database, { volumeId: volume.id, scope: 'all projects' });
    expect(await joinFlight(database, joining(volume, key))).toEqual({ kind: 'not-creating', state: 'deleting' });
    expect(await findFlight(database, flightKey)).toBeUndefined();
  });
});

describe('updateFlightRun and answerFlight', () => {
  test('a flight is claimed by one run after the other, answered once, and told again to the run that answered', async () => {
    const leader = await admitted(database, key);
    expect(await updateFlightRun(database, { ...flightKey, runId: 'early' })).toBeUndefined();
    await joinFlight(database, joining(leader, key));
    const claim = { flight: 1, imageId: IMAGE, leaderVolumeId: leader.id };
    expect(await updateFlightRun(database, { ...flightKey, runId: 'killed' })).toEqual(claim);
    expect(await updateFlightRun(database, { ...flightKey, runId: 'second' })).toEqual(claim);
    expect(
      await answerFlight(database, { ...flightKey, flight: 1, runId: 'killed', verdict: failed('BackendUnavailable') }),
    ).toBe(false);
    for (let time = 0; time < 2; time += 1)
      expect(await answerFlight(database, { ...flightKey, flight: 1, runId: 'second', verdict: noRoom })).toBe(true);
    expect(await answerFlight(database, { ...flightKey, flight: 2, runId: 'second', verdict: noRoom })).toBe(false);
    expect(await findFlight(database, flightKey)).toMatchObject({
      answered: true,
      answeredRunId: 'second',
      verdict: noRoom,
    });
  });

  test('a run that finds its flight answered takes no waiters', async () => {
    await joinFlight(database, joining(await admitted(database, key), key));
    await answer(1, noRoom);
    expect(await updateFlightRun(database, { ...flightKey, runId: 'late' })).toMatchObject({
      flight: 1,
      answered: noRoom,
    });
    expect(await joinFlight(database, joining(await admitted(database, key), key))).toMatchObject({
      flight: 2,
      answeredRunId: 'late',
    });
  });
});

describe('waitersOf', () => {
  test('pages through those who still wait, each with the ids that complete its activity', async () => {
    const volumes = [];
    for (let index = 0; index < 5; index += 1) volumes.push(await admitted(database, key));
    for (const volume of volumes) await joinFlight(database, joining(volume, key));
    const of = { ...flightKey, flight: 1 };
    const first = await waitersOf(database, { ...of, limit: 3 });
    const second = await waitersOf(database, { ...of, limit: 3, afterId: first[2]?.id });
    expect([...first, ...second].map(({ id }) => id)).toEqual(volumes.map(({ id }) => id).sort());
    const [waiter] = first;
    expect(waiter).toEqual({
      id: waiter?.id,
      workflowId: `volume/${waiter?.id}`,
      runId: `run-of-${waiter?.id}`,
      activityId: '7',
    });
    expect(await waitersOf(database, { ...of, flight: 2, limit: 10 })).toEqual([]);
  });

  test('leaves out who acquired, gave up, was deleted, or started again', async () => {
    const join = async () => {
      const volume = await admitted(database, key);
      await joinFlight(database, joining(volume, key));
      return { volumeId: volume.id, runId: volume.runId };
    };
    const [cold, acquired, failing, deleted, restarted] = [
      await join(),
      await join(),
      await join(),
      await join(),
      await join(),
    ];
    await acquireEntry(database, { ...cold, backend: BACKEND, key });
    await readyEntry(database, key);
    await acquireEntry(database, { ...acquired, backend: BACKEND, key });
    await markFailed(database, { ...failing, to: 'error', decision: DECISION });
    await markDeleting(database, { ...deleted, scope: 'all projects' });
    const deadRunId = restarted.runId;
    await insertVolume(database, admittance(key, { volumeId: restarted.volumeId, runId: 'second', deadRunId }));
    expect(await waitersOf(database, { ...flightKey, flight: 1, limit: 10 })).toEqual([]);
  });
});

describe('openFlight', () => {
  test('writes down who waits beside volumes, once, until the flight is answered', async () => {
    const waiter = { workflowId: 'warm/1', runId: 'run', activityId: 'wait-1' };
    const opening = { backend: BACKEND, key, imageId: IMAGE, policyVersion: 'p1', waiter };
    const volume = await admitted(database, key);
    await joinFlight(database, joining(volume, key));
    await openFlight(database, opening);
    await openFlight(database, opening);
    await openFlight(database, { ...opening, waiter: { ...waiter, activityId: 'wait-2' } });
    const of = { ...flightKey, flight: 1 };
    const all = await waitersOf(database, { ...of, limit: 10 });
    expect(all.map(({ activityId }) => activityId).sort()).toEqual(['7', 'wait-1', 'wait-2']);
    expect(await waitersOf(database, { ...of, limit: 10, afterId: all[1]?.id })).toEqual(all.slice(2));
    await answer(1, noRoom);
    await forgetWaiters(database, of);
    expect(await waitersOf(database, { ...of, limit: 10 })).toMatchObject([{ id: volume.id }]);
    expect(await openFlight(database, opening)).toMatchObject({ kind: 'open', flight: 2 });
    expect(await waitersOf(database, { ...of, flight: 2, limit: 10 })).toMatchObject([waiter]);
  });

  const opening = { backend: BACKEND, key, imageId: IMAGE, policyVersion: 'p1' };

  test('opens a flight without a leader, and finds it again until it is answered', async () => {
    const opened = { kind: 'open', flight: 1, runId: null, answeredRunId: null };
    expect(await openFlight(database, opening)).toEqual(opened);
    expect(await openFlight(database, opening)).toEqual(opened);
    expect(await findFlight(database, flightKey)).toMatchObject({ flight: 1, leaderVolumeId: null, verdict: null });
    await answer(1, noRoom);
    expect(await openFlight(database, opening)).toMatchObject({ kind: 'open', flight: 2, runId: null });
  });

  test('joins the flight that a volume leads, and a volume joins the one that it has opened', async () => {
    const leader = await admitted(database, key);
    expect(await joinFlight(database, joining(leader, key))).toMatchObject({ role: 'leader', flight: 1 });
    expect(await openFlight(database, opening)).toMatchObject({ kind: 'open', flight: 1 });
    await answer(1, noRoom);
    expect(await openFlight(database, opening)).toMatchObject({ kind: 'open', flight: 2 });
    const joiner = await admitted(database, key);
    expect(await joinFlight(database, joining(joiner, key))).toMatchObject({
      kind: 'waiting',
      role: 'joined',
      flight: 2,
    });
    expect(await findFlight(database, flightKey)).toMatchObject({ leaderVolumeId: null });
  });

  test('remembers a refusal under the same policy, and no other verdict', async () => {
    await openFlight(database, opening);
    await answer(1, failed('BackendUnavailable'));
    expect(await openFlight(database, opening)).toMatchObject({ kind: 'open', flight: 2 });
    await answer(2, failed('ImageRefused'));
    expect(await openFlight(database, opening)).toEqual({ kind: 'remembered', verdict: failed('ImageRefused') });
    expect(await openFlight(database, { ...opening, policyVersion: 'p2' })).toMatchObject({ kind: 'open', flight: 3 });
  });

  test('tells a collision of short keys', async () => {
    await openFlight(database, opening);
    const other = { ...cacheKey('another disk'), short: key.short };
    expect(await openFlight(database, { ...opening, key: other })).toEqual({ kind: 'collision' });
  });
});
