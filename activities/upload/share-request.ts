import { v5 as uuidV5 } from 'uuid';
import { z } from 'zod';
import { scopeOf, type ProjectScope } from '../../db/scope';
import { noteShare, listParentsOf } from '../../db/shares';
import type { SnapshotRow } from '../../db/schema';
import { findSnapshot } from '../../db/snapshots';
import { findVolume } from '../../db/volumes';
import { Failure, isFailure } from '../../workflows/contract/failures';
import type { ImageId, ProjectId, SnapshotId } from '../../workflows/contract/ids';
import {
  shareVisibilities,
  type SharePlan,
  type ShareSnapshotInput,
  type UnsharePlan,
} from '../../workflows/contract/share';
import { MAX_NAME_CHARACTERS } from '../../workflows/contract/volume-changes';
import type { ControlDependencies } from '../dependencies';
import { boundedText, callerSchema, parseRequest, projectId, uuid } from '../kit/request';
import { workflowExecution } from '../kit/runs';
import { SNAPSHOT_PROPERTY } from '../kit/uploaded-image';
import { checkVisibility, mayPoint, recordOf } from './upload-request';

/** Namespace of the image ids that are derived from runs (RFC 9562, version 5). */
const IMAGE_ID_NAMESPACE = '0a6cf1c2-6b1f-4d0e-8f3d-2b7f0d6f5b1e';
/** Glance's `image_member_quota`. */
const MAX_MEMBERS = 128;

/** Tells an image that may be shared, and deleted, for its snapshot, for Glance's policy, which compares with a word; see `docs/glance/policy.yaml`. */
const MADE_OF = { ivc_made_of: 'snapshot' };

const members = z.array(projectId).max(MAX_MEMBERS, `at most ${MAX_MEMBERS} projects`).optional();
const base = { snapshotId: uuid, projectId: projectId.optional(), members, ...callerSchema };
const shareSchema = z.strictObject({
  ...base,
  visibility: z.enum(shareVisibilities, shareVisibilities.join(', ')).optional(),
  name: boundedText(MAX_NAME_CHARACTERS).optional(),
});
const unshareSchema = z.strictObject(base);

/**
 * @returns the image by which a snapshot is shared, or is to be. One that is there is used again; one that was deleted is not, since an image's id is not
 * given twice.
 * @throws InvalidRequest, SnapshotNotFound (final); ImageServiceUnavailable (retried).
 */
export function createPlanShare(deps: ControlDependencies) {
  return async function planShare(input: unknown): Promise<SharePlan> {
    const request = parseShare(input);
    const snapshotId = request.snapshotId as SnapshotId;
    const scope = scopeOf(request.projectId as ProjectId | undefined);
    const { imageId, snapshot } = await claimImage(deps, { snapshotId, scope });
    const { volumeId, projectId: owner, backend, sizeBytes } = snapshot;
    // Its snapshots keep a volume from being deleted.
    const volume = await findVolume(deps.database, { volumeId, scope: 'all projects' });
    if (volume === undefined) throw new Failure('VolumeNotFound', { volumeId });
    const { by, requestId, visibility = 'shared', members: asked = [] } = request;
    const name = request.name ?? snapshot.name ?? `snapshot-${snapshotId}`;
    // Nobody else sees it before it is whole.
    const record = recordOf({ name, visibility: 'private' }, volume, sizeBytes);
    return {
      by,
      requestId,
      volumeId,
      imageId,
      snapshotId,
      projectId: owner,
      backend,
      sizeBytes,
      seedCache: false,
      byPointer: mayPoint(deps, snapshot, {}),
      record: { ...record, properties: { ...record.properties, ...MADE_OF, [SNAPSHOT_PROPERTY]: snapshotId } },
      visibility,
      members: asked as ProjectId[],
    };
  };
}

function parseShare(input: unknown): ShareSnapshotInput {
  const request = parseRequest(shareSchema, input);
  checkVisibility(request);
  if ((request.members ?? []).length === 0 || (request.visibility ?? 'shared') === 'shared') return request;
  const allowed = 'none: only an image of visibility shared has members, this one is for every project';
  throw new Failure('InvalidRequest', { field: 'members', value: request.members?.join(', ') ?? '', allowed });
}

async function claimImage(
  deps: ControlDependencies,
  { snapshotId, scope }: { snapshotId: SnapshotId; scope: ProjectScope },
): Promise<{ imageId: ImageId; snapshot: SnapshotRow }> {
  const found = await getSnapshot(deps, { snapshotId, scope });
  const { sharedImageId: noted } = found;
  const gone = noted !== null && !(await isThere(deps, noted)) ? noted : undefined;
  const imageId = uuidV5(`${workflowExecution().runId}/${gone ?? ''}`, IMAGE_ID_NAMESPACE) as ImageId;
  const row = await noteShare(deps.database, { snapshotId, imageId, gone, scope });
  if (row?.sharedImageId) return { imageId: row.sharedImageId, snapshot: row };
  const value = `${snapshotId}, which is ${row?.state ?? found.state}`;
  throw new Failure('InvalidRequest', { field: 'snapshotId', value, allowed: 'a snapshot that is available' });
}

async function getSnapshot(
  { database }: ControlDependencies,
  { snapshotId, scope }: { snapshotId: SnapshotId; scope: ProjectScope },
): Promise<SnapshotRow> {
  const found = await findSnapshot(database, { snapshotId, scope });
  if (found === undefined || found.state === 'deleted') throw new Failure('SnapshotNotFound', { snapshotId });
  return found;
}

async function isThere({ images }: ControlDependencies, imageId: ImageId): Promise<boolean> {
  try {
    await images.getImage(imageId);
    return true;
  } catch (error) {
    if (isFailure(error, 'ImageNotFound')) return false;
    throw error;
  }
}

/** @returns by which image a snapshot is shared, and what needs that image. @throws InvalidRequest, SnapshotNotFound (final). */
export function createPlanUnshare(deps: ControlDependencies) {
  return async function planUnshare(input: unknown): Promise<UnsharePlan> {
    const request = parseRequest(unshareSchema, input);
    const snapshotId = request.snapshotId as SnapshotId;
    const scope = scopeOf(request.projectId as ProjectId | undefined);
    const { projectId: owner, sharedImageId: imageId } = await getSnapshot(deps, { snapshotId, scope });
    const parents = imageId === null ? [] : await listParentsOf(deps.database, { imageId });
    const { by, requestId, members: asked } = request;
    return {
      by,
      requestId,
      snapshotId,
      projectId: owner,
      imageId,
      parents,
      ...(asked && { members: asked as ProjectId[] }),
    };
  };
}
