import type { Database } from '../../../db/client';
import type { ProjectScope } from '../../../db/scope';
import { changeAttachments, findAttachment, selectAttachments } from '../../../db/attachments';
import { promiseExtension } from '../../../db/extensions';
import { beginReimage } from '../../../db/reimage-admission';
import { noteShare } from '../../../db/shares';
import { findSnapshot, insertSnapshot, markSnapshotDeleting, selectSnapshots } from '../../../db/snapshots';
import { updateSnapshot } from '../../../db/snapshot-changes';
import { findVolume, lockVolume, markDeleting } from '../../../db/volumes';
import { selectVolumes, totalVolumes } from '../../../db/volume-lists';
import { updateVolume } from '../../../db/volume-changes';
import { GiB } from '../../../workflows/contract/bytes';
import type { ContentId, ImageId, SnapshotId, VolumeId } from '../../../workflows/contract/ids';

import { SOURCE } from './rows';

interface Asked {
  scope: ProjectScope;
  volumeId: VolumeId;
}

/** Every query behind a user's verb, by the name of its function, as it is asked about one volume, and a snapshot that has the same id. */
export const scopedQueries: Record<string, (database: Database, asked: Asked) => Promise<unknown>> = {
  findVolume,
  selectVolumes: (database, { scope, volumeId }) => selectVolumes(database, { scope, limit: 10, afterId: volumeId }),
  totalVolumes: (database, { scope, volumeId }) =>
    totalVolumes(database, { scope, called: volumeId, withMetadata: true }),
  lockVolume,
  findAttachment: (database, { scope, volumeId }) => findAttachment(database, { scope, attachmentId: volumeId }),
  selectAttachments: (database, { scope, volumeId }) =>
    selectAttachments(database, { scope, limit: 10, afterId: volumeId }),
  findSnapshot: (database, { scope, volumeId }) => findSnapshot(database, { scope, snapshotId: snapshotOf(volumeId) }),
  selectSnapshots: (database, { scope, volumeId }) =>
    selectSnapshots(database, { scope, limit: 10, afterId: snapshotOf(volumeId) }),
  markSnapshotDeleting: (database, { scope, volumeId }) =>
    markSnapshotDeleting(database, { scope, snapshotId: snapshotOf(volumeId) }),
  noteShare: (database, { scope, volumeId }) =>
    noteShare(database, { scope, snapshotId: snapshotOf(volumeId), imageId: 'image' as ImageId }),
  // Last: they change what they find.
  updateSnapshot: (database, { scope, volumeId }) =>
    updateSnapshot(database, { scope, snapshotId: snapshotOf(volumeId), change: { name: 'changed' }, source: SOURCE }),
  updateVolume: (database, { scope, volumeId }) =>
    updateVolume(database, { scope, volumeId, change: { bootable: true }, source: SOURCE }),

  markDeleting,
};

/** Functions that ask by those, in a transaction of several steps. */
export const scopedVerbs: typeof scopedQueries = {
  changeAttachments: (database, { scope, volumeId }) =>
    changeAttachments(database, { scope, volumeId, source: SOURCE, decide: () => undefined }),
  insertSnapshot: (database, { scope, volumeId }) => {
    const more = { name: null, description: null, metadata: {}, workflowId: 'w', runId: 'r' };
    return insertSnapshot(database, { ...more, scope, volumeId, snapshotId: NO_SNAPSHOT });
  },
  promiseExtension: (database, { scope, volumeId }) =>
    promiseExtension(database, {
      scope,
      volumeId,
      sizeBytes: GiB,
      limitOf: () => Promise.reject(new Error('unasked')),
    }),
  beginReimage: (database, { scope, volumeId }) => {
    const image = { imageId: 'i' as ImageId, shortKey: 's', imageMetadata: {} };
    const run = { contentId: NO_CONTENT, workflowId: 'w', runId: 'r' };
    const limitOf = () => Promise.reject(new Error('unasked'));
    return beginReimage(database, { ...image, ...run, scope, volumeId, limitOf });
  },
};

const NO_SNAPSHOT = '00000000-0000-0000-0000-000000000001' as SnapshotId;
const NO_CONTENT = '00000000-0000-0000-0000-000000000002' as ContentId;
const snapshotOf = (volumeId: VolumeId): SnapshotId => volumeId as string as SnapshotId;
