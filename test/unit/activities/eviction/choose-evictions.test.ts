import * as fc from 'fast-check';
import { chooseEvictions, type Demand } from '../../../../activities/eviction/choose-evictions';
import type { EvictionCandidate, EvictionView } from '../../../../db/evictions/eviction-view';
import { GiB, MiB } from '../../../../workflows/contract/bytes';
import { evictionClasses } from '../../../../workflows/contract/eviction';
import type { EntryId, FollowId, ImageId } from '../../../../workflows/contract/ids';
import { backendRow, entryRow } from '../../../bench/policies/rows';
import { type BackendRow, type EntryRow } from '../../../../db/schema';

const NOW = new Date('2026-02-01T12:00:00Z');
const HOUR_MS = 3_600_000;
const agoMs = (ms: number) => new Date(NOW.getTime() - ms);

type Given = Partial<EntryRow> & Partial<Pick<EvictionCandidate, 'leased' | 'awaited' | 'images'>>;

function candidate(
  id: string,
  { leased = false, awaited = false, images = [], ...entry }: Given = {},
): EvictionCandidate {
  return {
    entry: entryRow({
      id: id as EntryId,
      createdAt: agoMs(HOUR_MS),
      lastUsedAt: agoMs(HOUR_MS),
      scoredAt: NOW,
      ...entry,
    }),
    leased,
    awaited,
    images,
  };
}

function view(candidates: EvictionCandidate[], backend: Partial<BackendRow> = {}): EvictionView {
  const counted = candidates.filter(({ entry }) => entry.counted);
  const sum = (entries: EvictionCandidate[]) => entries.reduce((total, { entry }) => total + entry.realBytes, 0);
  const used = {
    bytes: sum(counted),
    count: counted.length,
    reservedBytes: sum(counted.filter(({ entry }) => entry.state === 'populating')),
    pinnedBytes: sum(candidates) - sum(counted),
  };
  return { now: NOW, backend: backendRow(backend), used, candidates, keepOfFollow: new Map() };
}

const sweep: Demand = { kind: 'sweep' };
const room = (neededBytes: number, neededCount = 0, bytes = GiB): Demand => ({
  kind: 'reservation',
  bytes,
  neededBytes,
  neededCount,
});
const ids = (selection: ReturnType<typeof chooseEvictions>) =>
  selection.chosen.map(({ candidate: { entry } }) => entry.id as string);
const why = (selection: ReturnType<typeof chooseEvictions>) =>
  Object.fromEntries(selection.stay.map(({ candidate: { entry }, why: reason }) => [entry.id, reason]));

describe('a sweep', () => {
  test('takes leftovers, then what is due class by class, each with its reason, and tells why the others stay', () => {
    const gone = [{ imageId: 'x' as ImageId, usable: false }];
    const selection = chooseEvictions(
      view(
        [
          candidate('idle', { lastUsedAt: agoMs(30 * HOUR_MS) }),
          candidate('superseded', { supersededAt: agoMs(HOUR_MS) }),
          candidate('image-gone', { images: gone }),
          candidate('half-gone', { images: [...gone, { imageId: 'y' as ImageId, usable: true }] }),
          candidate('quarantined', { state: 'retired', reason: 'quarantined' }),
          candidate('held', { state: 'retired', reason: 'superseded', clones: 2, counted: false }),
          candidate('leased', { images: gone, leased: true, clones: 1 }),
          candidate('awaited', { images: gone, awaited: true }),
          candidate('pinned', { images: gone, pinned: true }),
          candidate('populating', { state: 'populating' }),
          candidate('deleting', { state: 'deleting' }),
          candidate('cloned-and-idle', { lastUsedAt: agoMs(30 * HOUR_MS), clones: 1 }),
          candidate('used'),
        ],
        { idleAgeMs: 24 * HOUR_MS },
      ),
      [sweep],
    );
    expect(selection.chosen.map((each) => [each.candidate.entry.id, each.class])).toEqual([
      ['quarantined', 'quarantined'],
      ['image-gone', 'image-gone'],
      ['superseded', 'superseded'],
      ['idle', 'idle'],
    ]);
    expect(selection.chosen.every((each) => each.why.length > 10)).toBe(true);
    expect(why(selection)).toEqual({
      'half-gone': 'within-limits',
      held: 'has-clones',
      leased: 'leased',
      awaited: 'awaited',
      pinned: 'pinned',
      populating: 'populating',
      deleting: 'deleting',
      'cloned-and-idle': 'has-clones',
      used: 'within-limits',
    });
    expect(selection.clock).toBe(0);
  });

  test('keeps as many superseded generations as the follow says, and of a follow that is gone as the backend says', () => {
    const superseded = (id: string, hours: number, follow: string) =>
      candidate(id, { supersededAt: agoMs(hours * HOUR_MS), supersededBy: follow as FollowId });
    const candidates = [
      superseded('a-new', 1, 'a'),
      superseded('a-mid', 2, 'a'),
      superseded('a-old', 3, 'a'),
      superseded('gone-new', 1, 'gone'),
      superseded('gone-old', 5, 'gone'),
    ];
    const given = { ...view(candidates, { keepSuperseded: 1 }), keepOfFollow: new Map([['a', 2]]) };
    expect(ids(chooseEvictions(given, [sweep])).sort()).toEqual(['a-old', 'gone-old']);
  });

  test('retires superseded and lost content that clones hold: it goes with the last of them', () => {
    const selection = chooseEvictions(view([candidate('a', { supersededAt: NOW, clones: 3 })]), [sweep]);
    expect(selection.chosen).toMatchObject([{ class: 'superseded', held: true }]);
  });

  test('brings the cache inside lowered limits by rank, and takes parents of clones out of them only when nothing else is left', () => {
    const candidates = [
      candidate('cheap', { costSeconds: 1, useScore: 1 }),
      candidate('dear', { costSeconds: 100, useScore: 1 }),
      candidate('cloned', { clones: 1, useScore: 1 }),
    ];
    expect(ids(chooseEvictions(view(candidates, { maxCount: 2 }), [sweep]))).toEqual(['cheap']);
    const strict = chooseEvictions(
      view([candidate('cloned', { clones: 1 }), candidate('other', { clones: 1, pinned: true })], { maxCount: 1 }),
      [sweep],
    );
    expect(strict.chosen).toMatchObject([{ class: 'pinning', held: true }]);
    expect(strict.isShort).toBe(true);
  });

  test('evicts below the low watermark until the high one is reached, and nothing above it', () => {
    const candidates = Array.from({ length: 10 }, (_, index) =>
      candidate(`e${index}`, { useScore: index + 1, reclaimableBytes: 4 * GiB }),
    );
    const backend = { totalBytes: 100 * GiB, freeBytes: 9 * GiB, freeLowWater: 0.1, freeHighWater: 0.2 };
    const selection = chooseEvictions(view(candidates, backend), [sweep]);
    expect(ids(selection)).toEqual(['e0', 'e1', 'e2']);
    expect(selection.chosen[0]?.why).toContain('freeLowWater');
    expect(ids(chooseEvictions(view(candidates, { ...backend, freeBytes: 11 * GiB }), [sweep]))).toEqual([]);
  });
});

describe('a reservation', () => {
  test('takes the lowest scores, spares those that a larger victim makes needless, and raises the clock', () => {
    const candidates = [
      candidate('small', { realBytes: 512 * MiB, useScore: 0.01 }),
      candidate('large', { realBytes: 8 * GiB, useScore: 1 }),
      candidate('dear', { realBytes: 8 * GiB, costSeconds: 500, useScore: 5 }),
    ];
    const selection = chooseEvictions(view(candidates, { maxCount: 1000, maxBytes: 17 * GiB }), [room(4 * GiB)]);
    expect(ids(selection)).toEqual(['large']);
    expect(selection.clock).toBe(selection.chosen[0]?.score);
    expect(selection.clock).toBeGreaterThan(0);
  });

  test('is served by the least recently used where the backend says lru, which moves no clock', () => {
    const candidates = [
      candidate('older', { lastUsedAt: agoMs(2 * HOUR_MS), useScore: 100 }),
      candidate('newer', { lastUsedAt: agoMs(HOUR_MS) }),
    ];
    const selection = chooseEvictions(view(candidates, { policy: 'lru', evictionClock: 3 }), [room(GiB)]);
    expect(ids(selection)).toEqual(['older']);
    expect(selection.clock).toBe(3);
  });

  test('takes parents of clones when nothing else is left, coldest first, as long as the free space stays above the low watermark', () => {
    const candidates = [candidate('warm', { clones: 1, useScore: 9 }), candidate('cold', { clones: 4, useScore: 1 })];
    const space = { totalBytes: 100 * GiB, freeLowWater: 0.1 };
    const roomy = chooseEvictions(view(candidates, { ...space, freeBytes: 11 * GiB }), [room(0, 1)]);
    expect(roomy.chosen).toMatchObject([{ class: 'pinning', held: true, candidate: { entry: { id: 'cold' } } }]);
    const full = chooseEvictions(view(candidates, { ...space, freeBytes: 11 * GiB - 1 }), [room(0, 1)]);
    expect(full).toMatchObject({ chosen: [], isShort: true });
    expect(chooseEvictions(view(candidates), [room(0, 1)]).chosen).toHaveLength(1);
  });
});

describe('requests', () => {
  test('take what they name, whatever it is worth, but nothing that may not go', () => {
    const candidates = [
      candidate('a', { useScore: 100 }),
      candidate('b', { clones: 2 }),
      candidate('c', { pinned: true }),
    ];
    const entryIds = ['a', 'b', 'c'] as EntryId[];
    const selection = chooseEvictions(view(candidates), [{ kind: 'named', entryIds, why: 'a mistake' }]);
    expect(selection.chosen).toMatchObject([
      { candidate: { entry: { id: 'b' } }, class: 'requested', held: true, why: 'a mistake' },
      { candidate: { entry: { id: 'a' } }, class: 'requested', held: false },
    ]);
    expect(why(selection)).toEqual({ c: 'pinned' });
  });

  test('for so many or so much are served by rank, one after the other', () => {
    const candidates = [1, 2, 3, 4, 5].map((use) => candidate(`e${use}`, { useScore: use }));
    const selection = chooseEvictions(view(candidates), [
      { kind: 'rank', count: 1, why: 'one' },
      { kind: 'rank', bytes: 2 * GiB, why: 'two' },
    ]);
    expect(selection.chosen.map((each) => [each.candidate.entry.id, each.demand])).toEqual([
      ['e1', 0],
      ['e2', 1],
      ['e3', 1],
    ]);
  });
});

const entry: fc.Arbitrary<Given> = fc.record({
  state: fc.constantFrom('ready', 'ready', 'ready', 'retired', 'populating', 'deleting'),
  leased: fc.boolean(),
  awaited: fc.boolean(),
  pinned: fc.boolean(),
  clones: fc.constantFrom(0, 0, 0, 1, 3),
  realBytes: fc.integer({ min: 1, max: 20 }).map((gib) => gib * GiB),
  costSeconds: fc.double({ min: 0, max: 1000, noNaN: true }),
  useScore: fc.double({ min: 0, max: 100, noNaN: true }),
  uses: fc.integer({ min: 0, max: 5 }),
  priorityBase: fc.double({ min: 0, max: 50, noNaN: true }),
  lastUsedAt: fc.integer({ min: 0, max: 100 }).map((hours) => agoMs(hours * HOUR_MS)),
  supersededAt: fc.constantFrom(null, null, NOW),
  images: fc.constantFrom(
    [],
    [{ imageId: 'x' as ImageId, usable: false }],
    [{ imageId: 'x' as ImageId, usable: true }],
  ),
});
const given = fc.record({
  candidates: fc
    .array(entry, { maxLength: 25 })
    .map((all) => all.map((each, index) => candidate(`e${String(index).padStart(2, '0')}`, each))),
  backend: fc.record({
    policy: fc.constantFrom('gdsf' as const, 'lru' as const),
    evictionClock: fc.double({ min: 0, max: 50, noNaN: true }),
    maxBytes: fc.integer({ min: 1, max: 200 }).map((gib) => gib * GiB),
    maxCount: fc.integer({ min: 1, max: 25 }),
    idleAgeMs: fc.constantFrom(null, 50 * HOUR_MS),
    totalBytes: fc.constant(100 * GiB),
    freeBytes: fc.integer({ min: 0, max: 100 }).map((gib) => gib * GiB),
  }),
});
const demand: fc.Arbitrary<Demand> = fc.oneof(
  fc.constant(sweep),
  fc.record({ kind: fc.constant('rank' as const), count: fc.integer({ min: 0, max: 9 }), why: fc.constant('asked') }),
  fc.record({
    kind: fc.constant('named' as const),
    entryIds: fc.subarray(['e00', 'e01', 'e02', 'e03'] as EntryId[]),
    why: fc.constant('asked'),
  }),
  fc.record({
    kind: fc.constant('reservation' as const),
    bytes: fc.constant(GiB),
    neededBytes: fc.integer({ min: -5, max: 60 }).map((gib) => gib * GiB),
    neededCount: fc.integer({ min: -5, max: 8 }),
  }),
);

const SEED = 20_260_117;
const RUNS = 500;

test('whatever is asked, no entry goes that is populating, being deleted, leased, pinned or awaited', () => {
  fc.assert(
    fc.property(given, fc.array(demand, { minLength: 1, maxLength: 3 }), ({ candidates, backend }, demands) => {
      const { chosen, stay, clock } = chooseEvictions(view(candidates, backend), demands);
      for (const { candidate: each, held } of chosen) {
        expect(each.leased).toBe(false);
        expect(['ready', 'retired']).toContain(each.entry.state);
        expect(each.entry.state === 'ready' && (each.entry.pinned || each.awaited)).toBe(false);
        expect(held).toBe(each.entry.clones > 0);
        expect(held && each.entry.state === 'retired').toBe(false);
      }
      expect(chosen.length + stay.length).toBe(candidates.length);
      expect(clock).toBeGreaterThanOrEqual(backend.evictionClock);
    }),
    { seed: SEED, numRuns: RUNS },
  );
});

test('a reservation gets enough or nothing, and takes a parent of clones only when what nothing holds is all taken', () => {
  fc.assert(
    fc.property(
      given,
      fc.integer({ min: 1, max: 60 }),
      fc.integer({ min: 0, max: 8 }),
      ({ candidates, backend }, gib, count) => {
        const { chosen } = chooseEvictions(view(candidates, backend), [room(gib * GiB, count)]);
        if (chosen.length === 0) return;
        const bytes = chosen.reduce((sum, { candidate: each }) => sum + each.entry.realBytes, 0);
        expect(bytes).toBeGreaterThanOrEqual(gib * GiB);
        expect(chosen.length).toBeGreaterThanOrEqual(count);
        if (!chosen.some(({ held }) => held)) return;
        const free = candidates.filter(
          ({ entry: { state, clones, pinned }, leased, awaited }) =>
            clones === 0 && !leased && (state === 'retired' || (state === 'ready' && !pinned && !awaited)),
        );
        expect(free.every(({ entry: { id } }) => chosen.some(({ candidate: each }) => each.entry.id === id))).toBe(
          true,
        );
      },
    ),
    { seed: SEED, numRuns: RUNS },
  );
});

test('what goes is in order: leftovers, then classes, then scores', () => {
  fc.assert(
    fc.property(given, ({ candidates, backend }) => {
      const { chosen } = chooseEvictions(view(candidates, backend), [sweep]);
      const ranks = chosen.map(({ isLeftover, due, score }) => [
        isLeftover ? 0 : 1,
        evictionClasses.indexOf(due ?? 'pressure'),
        score,
      ]);
      const sorted = [...ranks].sort(
        (a, b) => a.map((value, index) => value - (b[index] ?? 0)).find((difference) => difference !== 0) ?? 0,
      );
      expect(ranks).toEqual(sorted);
    }),
    { seed: SEED, numRuns: RUNS },
  );
});
