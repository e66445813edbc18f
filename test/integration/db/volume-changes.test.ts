import { listEvents } from '../../../db/events';
import { updateVolume } from '../../../db/volume-changes';
import { findVolume, markDeleted, markDeleting } from '../../../db/volumes';
import { selectVolumes } from '../../../db/volume-lists';
import type { ProjectId, VolumeId } from '../../../workflows/contract/ids';
import { MAX_METADATA_ENTRIES, type VolumeChange, type VolumeSort } from '../../../workflows/contract/volume-changes';
import { GiB } from '../../../workflows/contract/bytes';
import { useInventory } from '../../support/database/database';
import { admitted, cacheKey, newVolumeId, PROJECT, registerLocal, SOURCE } from '../../support/database/rows';

const { database } = useInventory(registerLocal);

const scope = { projectId: PROJECT };
const key = cacheKey('debian 12');
let volumeId: VolumeId;

beforeEach(async () => {
  volumeId = (await admitted(database, key, { metadata: { a: '1', b: '2' } })).id;
});

const change = (wanted: VolumeChange, of = { volumeId, scope }) =>
  updateVolume(database, { ...of, change: wanted, source: { by: 'alice', ...SOURCE } });
const eventsOf = async () => await listEvents(database, { scope, volumeId, kind: 'volume.changed', limit: 10 });

test('name, metadata and bootable change together, what is not named stays, and one event tells the keys and not the values', async () => {
  const wanted = { name: 'new', metadata: { b: 'secret', c: 'secret' }, unsetMetadata: ['a', 'x'], bootable: true };
  for (let time = 0; time < 2; time += 1)
    expect(await change(wanted)).toMatchObject({
      kind: 'changed',
      volume: { name: 'new', metadata: { b: 'secret', c: 'secret' }, bootable: true },
    });
  const events = await eventsOf();
  expect(events).toMatchObject([{ requestedBy: 'alice', object: volumeId }]);
  expect(events[0]?.detail).toEqual({
    name: { from: 'root disk', to: 'new' },
    bootable: true,
    metadataSet: ['b', 'c'],
    metadataUnset: ['a'],
  });
});

test('a name can be taken away, and what changes nothing tells nothing', async () => {
  await change({ metadata: { a: '1' }, unsetMetadata: ['x'] });
  expect(await eventsOf()).toEqual([]);
  expect(await change({ name: null })).toMatchObject({ volume: { name: null, metadata: { a: '1', b: '2' } } });
});

test('more metadata than a volume may have, with what it has, changes nothing', async () => {
  const metadata = Object.fromEntries(Array.from({ length: MAX_METADATA_ENTRIES - 1 }, (_, n) => [`k${n}`, '']));
  expect(await change({ metadata })).toEqual({
    kind: 'too-many',
    field: 'metadata',
    entries: MAX_METADATA_ENTRIES + 1,
    most: MAX_METADATA_ENTRIES,
  });
  expect(await findVolume(database, { volumeId, scope })).toMatchObject({ metadata: { a: '1', b: '2' } });
  expect(await change({ metadata, unsetMetadata: ['a'] })).toMatchObject({ kind: 'changed' });
});

test('a volume of another project, one that never was and one that is gone are absent', async () => {
  const foreign = { volumeId, scope: { projectId: 'other' as ProjectId } };
  expect(await change({ name: 'mine' }, foreign)).toEqual({ kind: 'absent' });
  expect(await change({ name: 'mine' }, { volumeId: newVolumeId(), scope })).toEqual({ kind: 'absent' });
  await markDeleting(database, { volumeId, scope });
  expect(await change({ name: 'late' })).toEqual({ kind: 'deleting' });
  await markDeleted(database, { volumeId, source: SOURCE });
  expect(await change({ name: 'late' })).toEqual({ kind: 'absent' });
});

describe('a list of volumes', () => {
  const idsOf = async (query: Partial<Parameters<typeof selectVolumes>[1]>) =>
    (await selectVolumes(database, { scope, limit: 10, ...query })).map(({ id }) => id);

  test('has those with a name, with all of some metadata, and those that are bootable or not', async () => {
    const other = (await admitted(database, key, { name: 'other', metadata: { a: '1' } })).id;
    await change({ bootable: true });
    expect(await idsOf({ name: 'other' })).toEqual([other]);
    expect(await idsOf({ metadata: { a: '1' } })).toEqual([other, volumeId]);
    expect(await idsOf({ metadata: { a: '1', b: '2' } })).toEqual([volumeId]);
    expect(await idsOf({ metadata: { a: '2' } })).toEqual([]);
    expect(await idsOf({ bootable: true })).toEqual([volumeId]);
    expect(await idsOf({ bootable: false })).toEqual([other]);
  });

  test.each<VolumeSort>([
    { by: 'name', descending: false },
    { by: 'name', descending: true },
    { by: 'sizeBytes', descending: false },
    { by: 'state', descending: true },
    { by: 'updatedAt', descending: true },
    { by: 'createdAt', descending: false },
  ])('sorted by $by, descending: $descending, has each once on its pages', async (sort) => {
    // Some share a name or a size, and some have none.
    for (const [name, sizeBytes] of [
      ['b', GiB],
      [null, null],
      ['a', 2 * GiB],
      ['b', 2 * GiB],
      ['a', null],
    ] as const)
      await admitted(database, key, { name, sizeBytes });
    const all = await selectVolumes(database, { scope, sort, limit: 10 });
    expect(all).toHaveLength(6);
    const keys = all.map((row) => row[sort.by] ?? (sort.by === 'sizeBytes' ? 0 : ''));
    const inOrder = [...keys].sort((a, b) => (a < b ? -1 : Number(a > b)));
    expect(keys).toEqual(sort.descending ? inOrder.toReversed() : inOrder);
    const paged: VolumeId[] = [];
    for (
      let page = await idsOf({ sort, limit: 2 });
      page.length > 0;
      page = await idsOf({ sort, limit: 2, afterId: paged.at(-1) })
    )
      paged.push(...page);
    expect(paged).toEqual(all.map(({ id }) => id));
  });
});
