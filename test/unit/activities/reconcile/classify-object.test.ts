import type { BackendObject } from '../../../../activities/backends/backend';
import {
  classifyImageVolume,
  classifyPartial,
  classifyVolume,
  isOwnVolume,
} from '../../../../activities/reconcile/classify-object';
import { shortKeyOf } from '../../../../activities/kit/cache-key';
import type { EntryState } from '../../../../db/schema';
import type { BackendName } from '../../../../workflows/contract/ids';
import { volumeStates } from '../../../../workflows/contract/volume';
import { type EntryRow, type VolumeRow } from '../../../../db/schema';

const backend = 'local' as BackendName;
const volumeId = '3f0b8d39-5b0f-4d5c-9d52-0f5b7d8d2f01';
const imageVolume = 'image-volume-0123456789abcdef0123456789abcdef-1-0123abcd';
const connection = { driver: 'file', path: '/volumes/a.qcow2', format: 'qcow2' } as const;

const volumeRow = (row: Partial<VolumeRow>): VolumeRow =>
  ({ id: volumeId, backend, state: 'available', errorType: null, connection: null, ...row }) as VolumeRow;
const entryRow = (state: EntryState): EntryRow => ({ imageVolume, state }) as EntryRow;
const partialOf = (kind: 'volume' | 'image-volume', name: string): BackendObject => ({
  kind: 'partial',
  name: `${name}.1-a.partial`,
  realBytes: 0,
  modifiedAt: new Date(0),
  partial: { kind, name, attempt: '1-a' },
});

describe('a volume on the backend', () => {
  it('is without a row only when no backend has one', () => {
    expect(classifyVolume(undefined, backend)).toBe('without-row');
    expect(classifyVolume(volumeRow({ backend: 'other' as BackendName }), backend)).toBe('elsewhere');
  });

  it.each(volumeStates)('is classified by its row in state %s', (state) => {
    const expected = {
      creating: 'unfinished',
      error: 'unfinished',
      deleted: 'ended',
      available: 'in-order',
      reimaging: 'in-order',
      deleting: 'in-order',
    };
    expect(classifyVolume(volumeRow({ state }), backend)).toBe(expected[state]);
  });

  it('stays when its row is in error and was available before', () => {
    expect(classifyVolume(volumeRow({ state: 'error', connection }), backend)).toBe('in-order');
    expect(classifyVolume(volumeRow({ state: 'error', errorType: 'VolumeNotFound' }), backend)).toBe('in-order');
  });
});

describe('an image-volume on the backend', () => {
  it('is an orphan without a row, and when its row is gone', () => {
    expect(classifyImageVolume(undefined)).toBe('orphan');
    expect(classifyImageVolume(entryRow('gone'))).toBe('orphan');
    for (const state of ['populating', 'ready', 'retired', 'deleting'] as const)
      expect(classifyImageVolume(entryRow(state))).toBe('in-order');
  });
});

describe('what an attempt has written', () => {
  const rows = (volume?: VolumeRow, entry?: EntryRow) => ({
    volumes: new Map(volume ? [[volume.id, volume]] : []),
    reimaging: new Set<never>(),
    snapshots: new Map(),
    entries: new Map(entry ? [[entry.imageVolume, entry]] : []),
  });

  it('is awaited while its row is in the making or being deleted, and left over else', () => {
    const ofVolume = partialOf('volume', volumeId);
    expect(classifyPartial(ofVolume, rows(volumeRow({ state: 'creating' })))).toBe('awaited');
    expect(classifyPartial(ofVolume, rows(volumeRow({ state: 'available' })))).toBe('leftover');
    expect(classifyPartial(ofVolume, rows())).toBe('leftover');
    const ofImage = partialOf('image-volume', imageVolume);
    expect(classifyPartial(ofImage, rows(undefined, entryRow('populating')))).toBe('awaited');
    expect(classifyPartial(ofImage, rows(undefined, entryRow('ready')))).toBe('leftover');
    expect(classifyPartial(ofImage, rows())).toBe('leftover');
  });

  it('stays where it has the name of a volume that its row says was whole, unless that is there too', () => {
    const named: BackendObject = { ...partialOf('volume', volumeId), hasObjectName: true };
    expect(classifyPartial(named, rows(volumeRow({ state: 'available' })))).toBe('spare');
    expect(classifyPartial(named, rows(volumeRow({ state: 'error', connection })))).toBe('spare');
    expect(classifyPartial(named, rows(volumeRow({ state: 'creating' })))).toBe('awaited');
    for (const state of ['error', 'deleted'] as const)
      expect(classifyPartial(named, rows(volumeRow({ state })))).toBe('leftover');
    expect(classifyPartial(named, rows())).toBe('foreign');
  });

  it('is foreign when it is named as nothing of ours is', () => {
    expect(classifyPartial(partialOf('image-volume', 'debian'), rows())).toBe('foreign');
  });
});

describe('a marker', () => {
  const key = { containerFormat: 'bare', diskFormat: 'raw', hashAlgorithm: 'sha512', hashValue: 'ff' };
  const marker = { volumeId, cacheKey: { ...key, short: shortKeyOf(key) } } as never;

  it('makes a row only for the volume whose name it has', () => {
    expect(isOwnVolume({ name: volumeId, marker })).toBe(true);
    expect(isOwnVolume({ name: 'a-copy', marker })).toBe(false);
    const forged = { volumeId, cacheKey: { ...key, short: '00' } } as never;
    expect(isOwnVolume({ name: volumeId, marker: forged })).toBe(false);
  });
});
