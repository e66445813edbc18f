import type { BackendName, InstallationId } from '../../../workflows/contract/ids';
import { NOTHING_KNOWN, type KnownPlace, type StoredImage, type VolumeBackend, type WriteTarget } from '../backend';
import type { GuestWriter } from '../../image/guest-writer';
import { checkSize } from '../sizes';
import { isCephError } from './ceph-error';
import type { RbdCluster, RbdPool } from './cluster';
import { checkNotFull, withFailures, type RbdContext } from './context';
import { listObjects } from './list';
import { createNames, type AttemptId, type NameTemplates } from './names';
import { describeParent, digestParent, sealImageVolume } from './parent';
import { checkClaim, claimPool } from './place';
import { qemuName } from './qemu-name';
import { ensureAttemptAbsent, ensureImageVolumeAbsent, ensureVolumeAbsent } from './remove';
import { ensureFlattened } from './flatten';
import { cloneStoredImage, ensureParentIndependent, findStoreFault, openReader, type ImageStore } from './image-store';
import { describeVolume, ensureClone, findOpener, MAX_IMAGE_BYTES, publishVolume } from './volume';

export interface RbdBackendOptions {
  name: BackendName;
  installation: InstallationId;
  pool: RbdPool;
  cluster: RbdCluster;
  names: NameTemplates;
  /** Undefined: images are never cloned from it. */
  imageStore?: ImageStore;
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
    names: createNames(names),
    sealedBytes: new Map(),
  };
  const guarded = async <Result>(operation: () => Promise<Result>): Promise<Result> =>
    await withFailures(context, operation);
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
    space: async () => await guarded(async () => await spaceOf(context)),
    ensureWriteTarget: async (request) => await ensureWriteTarget(context, request),
    sealImageVolume: async (target, marker) => await sealImageVolume(context, target, marker),
    publishVolume: async (target, marker) => await publishVolume(context, target, marker),
    ...(cluster.openWriter !== undefined && {
      openWriter: async (attempt: AttemptId) => await openWriter(context, attempt),
    }),
    ...(cluster.openReader !== undefined && {
      openReader: async (attempt: AttemptId) => await openReader(context, attempt),
    }),
    ...(imageStore !== undefined && {
      cloneStoredImage: async (image: StoredImage) => await cloneStoredImage(context, imageStore, image),
    }),
    readTarget: async (attempt, lengthBytes) => await readTarget(context, attempt, lengthBytes),
    ensureAttemptAbsent: async (request) => await ensureAttemptAbsent(context, request),
    describeParent: async (image) => await guarded(async () => await describeParent(context, image)),
    digestParent: async (image, options) => await guarded(async () => await digestParent(context, image, options)),
    ensureClone: async (parent, marker) => await ensureClone(context, parent, marker),
    ensureFlattened: async (volumeId, options) => await ensureFlattened(context, volumeId, options),
    ensureParentIndependent: async (image, options) => await ensureParentIndependent(context, image, options),
    describeVolume: async (volumeId) => await guarded(async () => await describeVolume(context, volumeId)),
    findOpener: async (volumeId) => await findOpener(context, volumeId),
    ensureVolumeAbsent: async (volumeId) => await ensureVolumeAbsent(context, volumeId),
    ensureImageVolumeAbsent: async (image) => await ensureImageVolumeAbsent(context, image),
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
