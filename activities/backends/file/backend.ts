import { resolve } from 'node:path';
import type { BackendName, InstallationId } from '../../../workflows/contract/ids';
import { NOTHING_KNOWN, type BackendCapabilities, type KnownPlace, type VolumeBackend } from '../backend';
import { ensureClone } from './clone';
import { beginCloneNotes } from './clone-notes';
import { chooseCloneMethod, type CloneMethod, type CloneSetting } from './clone-method';
import type { FileBackendContext } from './context';
import { digestParent } from './digest';
import { checkClaim, ensureDirectory } from './directory';
import { onceMoreIfAbsent, withFailures } from './errors';
import { layoutOf } from './layout';
import { ensureFlattened } from './flatten';
import { ensureGrown } from './grow';
import { listObjects } from './list';
import { findOpener } from './opener';
import { describeParent, getSealedParent, reclaimableBytes } from './parent';
import { ensureImageVolumeAbsent, ensureVolumeAbsent } from './remove';
import { ensureReplaced, settleReplaced } from './replace';
import { publishVolume, sealImageVolume } from './seal';
import { cloneSnapshot, describeSnapshot, ensureSnapshot, ensureSnapshotAbsent } from './volume-snapshot';
import { openSnapshotReader } from './snapshot-reader';
import { describeVolume } from './volume';
import { ensureAttemptAbsent, ensureWriteTarget, takeOverAttempt } from './write-target';
import { fileSystemSpace } from '../../../lib/files';
import { sharingNext } from '../../../lib/sharing-next';

export interface FileBackendOptions {
  name: BackendName;
  installation: InstallationId;
  directory: string;
  clone: CloneSetting;
  /** Default: the inventory holds nothing there. */
  known?: KnownPlace;
}

/**
 * A directory of files: sealed parents are sparse raw, clones are reflinks or qcow2 overlays on their parent.
 * Makes and claims the directory, unless the inventory expects another. Any number of processes may hold one directory.
 * @throws Error when what the inventory holds there, or its claim, is missing; ForeignObject for another installation's directory; InvalidRequest when reflinks are demanded and there are none; BackendUnavailable.
 */
export async function createFileBackend({
  name,
  installation,
  directory,
  clone,
  known = NOTHING_KNOWN,
}: FileBackendOptions): Promise<VolumeBackend> {
  const layout = layoutOf(resolve(directory));
  const chosen = await withFailures({ name, layout }, 0, async () => {
    const placeId = await ensureDirectory(layout, { installation, backend: name }, known);
    await beginCloneNotes(layout);
    return { placeId, ...(await chooseCloneMethod(layout, clone)) };
  });
  const { placeId } = chosen;
  const context: FileBackendContext = {
    name,
    installation,
    layout,
    placeId,
    method: chosen.method,
    checkParent: sharingNext((parent) => getSealedParent(context, parent)),
  };
  /** @param neededBytes what `NoSpace` names. */
  const guarded =
    <Args extends unknown[], Result>(
      operation: (of: FileBackendContext, ...args: Args) => Promise<Result>,
      neededBytes: (...args: Args) => number = () => 0,
    ) =>
    (...args: Args): Promise<Result> =>
      withFailures(context, neededBytes(...args), () => onceMoreIfAbsent(() => operation(context, ...args)));
  return {
    name,
    driver: 'file',
    capabilities: capabilitiesOf(chosen),
    placeId,
    space: guarded(spaceOf),
    ensureWriteTarget: guarded(ensureWriteTarget, ({ virtualBytes }) => virtualBytes),
    takeOverAttempt: guarded(takeOverAttempt),
    sealImageVolume: guarded(sealImageVolume, (_target, { virtualBytes }) => virtualBytes),
    publishVolume: guarded(publishVolume, (_target, { sizeBytes }) => sizeBytes),
    ensureAttemptAbsent: guarded(ensureAttemptAbsent),
    describeParent: guarded(describeParent),
    reclaimableBytes: guarded(reclaimableBytes),
    digestParent: guarded(digestParent),
    ensureClone: guarded(ensureClone, (_parent, { sizeBytes }) => sizeBytes),
    ensureReplaced: guarded(ensureReplaced, ({ marker }) => marker.sizeBytes),
    settleReplaced: guarded(settleReplaced),
    ensureFlattened: guarded(ensureFlattened),
    ensureGrown: guarded(ensureGrown, (_volumeId, sizeBytes) => sizeBytes),
    describeVolume: guarded(describeVolume),
    findOpener: guarded(findOpener),
    ensureSnapshot: guarded(ensureSnapshot, ({ sizeBytes }) => sizeBytes),
    describeSnapshot: guarded(describeSnapshot),
    openSnapshotReader: guarded(openSnapshotReader),
    cloneSnapshot: guarded(cloneSnapshot, ({ marker }) => marker.sizeBytes),
    ensureSnapshotAbsent: guarded(ensureSnapshotAbsent),
    ensureVolumeAbsent: guarded(ensureVolumeAbsent),
    ensureImageVolumeAbsent: guarded(ensureImageVolumeAbsent),
    list: () => listObjects(context),
  };
}

function capabilitiesOf({ method, reason }: CloneMethod): BackendCapabilities {
  return {
    clone: 'instant',
    clonesPinParent: method === 'overlay',
    cloneMethod: method === 'overlay' ? 'qcow2 overlay' : 'reflink',
    ...(reason === undefined ? {} : { cloneMethodReason: reason }),
  };
}

/** Where the file system went away, the one below it has another space: a cache would be evicted for it. */
async function spaceOf(context: FileBackendContext): Promise<{ totalBytes: number; freeBytes: number }> {
  const space = await fileSystemSpace(context.layout.directory);
  await checkClaim(context);
  return space;
}
