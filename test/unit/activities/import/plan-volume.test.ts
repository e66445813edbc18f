import { planVolume, type ImportView } from '../../../../activities/import/plan-volume';
import type { ImportRow, SnapshotRow, VolumeRow } from '../../../../db/schema';
import { GiB } from '../../../../workflows/contract/bytes';
import type { CinderAttachment, CinderSnapshot, CinderVolume } from '../../../../workflows/contract/cinder-import';
import type { InstallationId, SnapshotId, VolumeId } from '../../../../workflows/contract/ids';
import { brand } from '../../../support/brand';

const installation = brand<InstallationId>('11111111-1111-4111-8111-111111111111');
const volumeId = brand<VolumeId>('22222222-2222-4222-8222-222222222222');
const snapshotId = brand<SnapshotId>('33333333-3333-4333-8333-333333333333');
const otherSnapshot = brand<SnapshotId>('44444444-4444-4444-8444-444444444444');
const attachmentId = '55555555-5555-4555-8555-555555555555';
const typeId = '66666666-6666-4666-8666-666666666666';
const createdAt = '2026-11-28T11:42:15.000Z';

const snapshot: CinderSnapshot = {
  snapshotId,
  name: 's1',
  description: null,
  metadata: {},
  sizeBytes: GiB,
  status: 'available',
  isGrouped: false,
  createdAt,
};
const attachment: CinderAttachment = {
  attachmentId,
  instanceId: '77777777-7777-4777-8777-777777777777',
  hostName: 'h1',
  mountpoint: '/dev/vdb',
  mode: 'rw',
  status: 'attached',
  connector: null,
  createdAt,
  attachedAt: createdAt,
};
const volume: CinderVolume = {
  volumeId,
  projectId: 'p1',
  userId: 'u1',
  name: 'disk',
  description: null,
  sizeBytes: GiB,
  status: 'available',
  host: 'peers@rbd#rbd',
  nameId: null,
  migrationStatus: null,
  replicationStatus: null,
  isEncrypted: false,
  isGrouped: false,
  volumeTypeId: typeId,
  bootable: true,
  multiattach: false,
  readOnly: false,
  metadata: {},
  imageMetadata: {},
  createdAt,
  attachments: [],
  snapshots: [snapshot],
  cachedImageId: null,
};
const found = {
  kind: 'present' as const,
  name: `volumes/volume-${volumeId}`,
  sizeBytes: GiB,
  modifiedAt: new Date(createdAt),
  snapshots: [snapshotId],
};
const markerOf = (owner: string) => ({
  kind: 'volume' as const,
  installation: brand<InstallationId>(owner),
  volumeId,
  projectId: brand<'ProjectId'>('p1') as never,
  name: 'disk',
  sizeBytes: GiB,
});
const view: ImportView = {
  volume,
  found,
  installation,
  row: undefined,
  note: undefined,
  snapshotRows: new Map(),
  attachmentIds: new Set(),
  types: { [typeId]: { name: 'fast', refused: null } },
};
const row = { state: 'available' } as VolumeRow;
const note = { state: 'taken' } as ImportRow;
const inUse = { status: 'in-use', attachments: [attachment] };

describe('the plan for a volume of Cinder', () => {
  it.each<[string, Partial<CinderVolume>]>([
    ['that is available', {}],
    ['that is in use', inUse],
    ['that was migrated to where it was', { migrationStatus: 'success' }],
    ['of a type that is not replicated', { replicationStatus: 'not-capable' }],
    [
      'with two attachments, where it may have them',
      {
        ...inUse,
        multiattach: true,
        attachments: [attachment, { ...attachment, attachmentId: '88888888-8888-4888-8888-888888888888' }],
      },
    ],
  ])('takes one %s', (_what, change) => {
    expect(planVolume({ ...view, volume: { ...volume, ...change } })).toEqual({ kind: 'take' });
  });

  it.each<[string, Partial<CinderVolume>]>([
    ['its status is error, allowed is available or in-use', { status: 'error' }],
    ['it is being migrated: its migration status is migrating', { migrationStatus: 'migrating' }],
    [`it was migrated: its image has the name of volume ${otherSnapshot}, not its own`, { nameId: otherSnapshot }],
    ['it is encrypted', { isEncrypted: true }],
    ['it is replicated: its replication status is enabled', { replicationStatus: 'enabled' }],
    ['it is one of a group', { isGrouped: true }],
    ['Cinder has no volume type gone, which it has', { volumeTypeId: 'gone' }],
    ['it is available, and has 1 attachment', { attachments: [attachment] }],
    ['it is in use, and Cinder has no attachment that says by whom', { status: 'in-use' }],
    [`its attachment ${attachmentId} is odd`, { status: 'in-use', attachments: [{ ...attachment, status: 'odd' }] }],
    ['it has 2 attachments, and is not for several', { ...inUse, attachments: [attachment, attachment] }],
    [`image ${found.name} has 1 GiB, Cinder says 2 GiB`, { sizeBytes: 2 * GiB }],
    [`its snapshot ${snapshotId} is creating`, { snapshots: [{ ...snapshot, status: 'creating' }] }],
    [`its snapshot ${snapshotId} is one of a group`, { snapshots: [{ ...snapshot, isGrouped: true }] }],
    [
      `its snapshot ${otherSnapshot} is not in image ${found.name}`,
      { snapshots: [snapshot, { ...snapshot, snapshotId: otherSnapshot }] },
    ],
    [`image ${found.name} has a snapshot ${snapshotId}, of which Cinder knows nothing`, { snapshots: [] }],
    ['its id is no UUID', { volumeId: brand<VolumeId>('vol-1') }],
  ])('refuses one since %s', (reason, change) => {
    expect(planVolume({ ...view, volume: { ...volume, ...change } })).toEqual({ kind: 'refused', reason });
  });

  it.each<[string, Partial<ImportView>]>([
    ["there is no image volumes/x; Cinder's host is peers@rbd#rbd", { found: { kind: 'absent', name: 'volumes/x' } }],
    ['it belongs to installation other', { found: { ...found, marker: markerOf('other') } }],
    ['its volume type "fast" is not taken over: why', { types: { [typeId]: { name: 'fast', refused: 'why' } } }],
    ['a volume of this id is available here, and was not taken over', { row }],
    [
      'a volume of this id was deleted here: an id is never used twice',
      { row: { state: 'deleted' } as VolumeRow, note },
    ],
    [
      `a snapshot of the id of its snapshot ${snapshotId} is here`,
      { snapshotRows: new Map([[snapshotId, {} as SnapshotRow]]) },
    ],
  ])('refuses it by what is here: %s', (reason, change) => {
    expect(planVolume({ ...view, ...change })).toEqual({ kind: 'refused', reason });
  });

  it('refuses an attachment whose id is taken', () => {
    const plan = planVolume({ ...view, volume: { ...volume, ...inUse }, attachmentIds: new Set([attachmentId]) });
    expect(plan).toEqual({
      kind: 'refused',
      reason: `an attachment of the id of its attachment ${attachmentId} is here`,
    });
  });

  it('knows one that was taken over, and goes on with one that was begun', () => {
    const marked = { ...found, marker: markerOf(installation) };
    expect(planVolume({ ...view, found: marked, row, note })).toEqual({ kind: 'present' });
    expect(planVolume({ ...view, found: marked, note: { ...note, state: 'taking' } })).toEqual({ kind: 'take' });
  });
});
