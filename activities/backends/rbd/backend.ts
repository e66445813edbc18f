import type { BackendName, ImageId, InstallationId } from '../../../workflows/contract/ids';
import {
  NOTHING_KNOWN,
  type FlattenOptions,
  type ImagePointer,
  type KnownPlace,
  type PointerOptions,
  type StoredImage,
  type VolumeBackend,
  type WriteTarget,
} from '../backend';
import type { GuestWriter } from '../../image/guest-writer';
import { checkSize } from '../sizes';
import { isCephError } from './ceph-error';
import type { RbdCluster, RbdPool } from './cluster';
import { checkNotFull, withFailures, type RbdContext } from './context';
import { listObjects } from './list';
import { createNames, type AttemptId, type NameTemplates } from './names';
import { describeParent, digestParent, sealImageVolume } from './parent';
import { checkClaim, claimPool } from './place';
import {
  describeImagePointer,
  ensureImagePointer,
  ensureImagePointerAbsent,
  ensureImagePointerIndependent,
  type PointerStore,
} from './pointer';
import { qemuName } from './qemu-name';
import { ensureAttemptAbsent, ensureImageVolumeAbsent, ensureVolumeAbsent } from './remove';
import { ensureReplaced, settleReplaced } from './replace';
import { ensureRewritten } from './rewrite';
import { ensureFlattened } from './flatten';
import { ensureGrown } from './grow';
import {
  cloneStoredImage,
  cloneStoredVolume,
  ensureParentIndependent,
  findStoreFault,
  openReader,
  type ImageStore,
} from './image-store';
import {
  cloneSnapshot,
  describeSnapshot,
  ensureSnapshot,
  ensureSnapshotAbsent,
  openSnapshotReader,
} from './volume-snapshot';
import { describeForeign, ensureGivenBack, ensureTakenOver } from './take-over';
import { describeVolume, ensureClone, findOpener, MAX_IMAGE_BYTES, publishVolume } from './volume';

/** Source: Cinder, `rbd_max_clone_depth`. */
const DEFAULT_MAX_CLONE_DEPTH = 5;

export interface RbdBackendOptions {
  name: BackendName;
  installation: InstallationId;
  pool: RbdPool;
  cluster: RbdCluster;
  names: NameTemplates;
  /** Undefined: images are never cloned from it. */
  imageStore?: ImageStore;
  /** Undefined: images are never made there. */
  pointerStore?: PointerStore;
  /** How many images a volume may read from, one behind the other; see `sealImageVolume`. Default: as Cinder's. */
  maxCloneDepth?: number;
  /** Default: the inventory holds nothing there. */
  known?: KnownPlace;
}

/**
 * A pool of Ceph RBD, or a namespace of it: image-volumes are images with one snapshot, volumes are clones of that (clone format 2, nothing is
 * protected). It claims the pool, unless the inventory expects another. Any number of processes may hold one pool.
 * @throws Error when what the inventory holds there, or its claim, is missing; ForeignObject for another installation's pool; BackendUnavailable.
 */
export async function createRbdBackend({
  name,
  installation,
  pool,
  cluster,
  names,
  imageStore,
  pointerStore,
  maxCloneDepth = DEFAULT_MAX_CLONE_DEPTH,
  known = NOTHING_KNOWN,
}: RbdBackendOptions): Promise<VolumeBackend> {
  const { storeFault, ...opened } = await withFailures({ name, pool, cluster }, async () => {
    const found = await cluster.identify();
    const placeId = await claimPool({ name, installation, pool, cluster, identity: found }, known);
    await cluster.ensureTrash();
    const fault = imageStore && (await findStoreFault({ cluster, pool }, imageStore));
    return { identity: found, placeId, storeFault: fault };
  });
  const context: RbdContext = {
    name,
    installation,
    pool,
    cluster,
    ...opened,
    maxCloneDepth,
    names: createNames(names),
    sealedBytes: new Map(),
  };
  const guarded =
    <Args extends unknown[], Result>(operation: (of: RbdContext, ...args: Args) => Promise<Result>) =>
    (...args: Args): Promise<Result> =>
      withFailures(context, () => operation(context, ...args));
  return {
    name,
    driver: 'rbd',
    capabilities: {
      clone: 'instant',
      clonesPinParent: true,
      cloneMethod: 'rbd clone',
      ...(cluster.access === 'tool' && {
        cloneMethodReason: 'the rbd tool is started for each step: librbd was not found',
      }),
      ...(imageStore !== undefined && { imageStore: { name: `pool ${imageStore.pool}`, reason: storeFault } }),
    },
    placeId: opened.placeId,
    space: guarded(spaceOf),
    ensureWriteTarget: guarded(ensureWriteTarget),
    sealImageVolume: guarded(sealImageVolume),
    publishVolume: guarded(publishVolume),
    readTarget: guarded(readTarget),
    ensureAttemptAbsent: guarded(ensureAttemptAbsent),
    ensureSnapshot: guarded(ensureSnapshot),
    describeSnapshot: guarded(describeSnapshot),
    cloneSnapshot: guarded(cloneSnapshot),
    ensureSnapshotAbsent: guarded(ensureSnapshotAbsent),
    describeParent: guarded(describeParent),
    digestParent: guarded(digestParent),
    ensureClone: guarded(ensureClone),
    ensureReplaced: guarded(ensureReplaced),
    settleReplaced: guarded(settleReplaced),
    ensureFlattened: guarded(ensureFlattened),
    ensureParentIndependent: guarded(ensureParentIndependent),
    ensureGrown: guarded(ensureGrown),
    describeVolume: guarded(describeVolume),
    findOpener: guarded(findOpener),
    ensureVolumeAbsent: guarded(ensureVolumeAbsent),
    ensureImageVolumeAbsent: guarded(ensureImageVolumeAbsent),
    ...(cluster.openWriter !== undefined && {
      openWriter: guarded(openWriter),
      ensureRewritten: guarded(ensureRewritten),
    }),
    ...(cluster.openReader !== undefined && {
      openReader: guarded(openReader),
      cloneStoredVolume: guarded(cloneStoredVolume),
      openSnapshotReader: guarded(openSnapshotReader),
    }),
    ...(imageStore !== undefined && {
      cloneStoredImage: guarded((own, image: StoredImage) => cloneStoredImage(own, imageStore, image)),
    }),
    ...(pointerStore !== undefined && {
      ensureImagePointer: guarded((own, pointer: ImagePointer, options?: PointerOptions) =>
        ensureImagePointer({ context: own, store: pointerStore }, pointer, options),
      ),
      describeImagePointer: guarded((own, imageId: ImageId) =>
        describeImagePointer({ context: own, store: pointerStore }, imageId),
      ),
      ensureImagePointerIndependent: guarded((own, imageId: ImageId, options: FlattenOptions) =>
        ensureImagePointerIndependent({ context: own, store: pointerStore }, imageId, options),
      ),
      ensureImagePointerAbsent: guarded((own, pointer: Omit<ImagePointer, 'projectId'>) =>
        ensureImagePointerAbsent({ context: own, store: pointerStore }, pointer),
      ),
    }),
    describeForeign: guarded(describeForeign),
    ensureTakenOver: guarded(ensureTakenOver),
    ensureGivenBack: guarded(ensureGivenBack),
    list: () => listObjects(context),
  };
}

async function spaceOf(context: RbdContext): Promise<{ totalBytes: number; freeBytes: number }> {
  const space = await context.cluster.space();
  await checkClaim(context);
  return space;
}

/** See `VolumeBackend.ensureWriteTarget`. */
async function ensureWriteTarget(
  context: RbdContext,
  { virtualBytes, ...attempt }: AttemptId & { virtualBytes: number },
): Promise<WriteTarget> {
  const { cluster, names } = context;
  const image = names.attemptOf(attempt);
  checkSize(virtualBytes, { leastBytes: 512, mostBytes: MAX_IMAGE_BYTES });
  return await withFailures(
    context,
    async () => {
      await checkClaim(context);
      await checkNotFull(context, virtualBytes);
      try {
        await cluster.createImage(image, virtualBytes);
      } catch (error) {
        if (!isCephError(error, 'exists')) throw error;
        await cluster.removeImage(image);
        await cluster.createImage(image, virtualBytes);
      }
      return { attempt: attempt.attempt, qemuTarget: qemuName(context.pool, image), virtualBytes };
    },
    virtualBytes,
  );
}

/** See `VolumeBackend.openWriter`. */
async function openWriter(context: RbdContext, attempt: AttemptId): Promise<GuestWriter> {
  const { cluster, names } = context;
  return await withFailures(context, async () => {
    const writer = await cluster.openWriter?.(names.attemptOf(attempt));
    if (writer === undefined) throw new Error('the rbd tool has no writer');
    return {
      write: async (bytes, position) => await withFailures(context, () => writer.write(bytes, position), bytes.length),
      flush: async () => await withFailures(context, () => writer.flush()),
      close: () => writer.close(),
    };
  });
}

/** See `VolumeBackend.readTarget`. */
async function readTarget(context: RbdContext, attempt: AttemptId, lengthBytes: number): Promise<Buffer> {
  const { cluster, names } = context;
  const pieces: Buffer[] = [];
  const consume = async (bytes: Buffer): Promise<void> => void (await Promise.resolve(pieces.push(Buffer.from(bytes))));
  await withFailures(context, () => cluster.read(names.attemptOf(attempt), { lengthBytes, consume }));
  return Buffer.concat(pieces);
}
