import { cancellationSignal, heartbeat } from '@temporalio/activity';
import { updateFollowPointer, type FlipOutcome } from '../../db/follows/follow-flip';
import { retireFormerContents, type RetiredContents } from '../../db/follows/follow-surplus';
import { findFollow, noteFollowChecked } from '../../db/follows/follows';
import type { EntryId, FollowId, ImageId } from '../../workflows/contract/ids';
import type { Image } from '../../workflows/contract/image';
import type { ControlDependencies } from '../dependencies';
import { workflowExecution } from '../kit/runs';
import { type FollowRow } from '../../db/schema';

/**
 * Images of one page of the service's list, and pages that are read: the newest that matches is on the first, but for
 * odd names.
 */
const PAGE_IMAGES = 100;
const MAX_PAGES = 10;

export type FollowMatch =
  | { kind: 'match'; imageId: ImageId }
  | { kind: 'no-match' }
  /** The follow is no more. */
  | { kind: 'unfollowed' };

/**
 * Finds the newest active image that the follow means and writes it down; nothing else changes. Idempotent.
 * @throws ImageServiceUnavailable (retried).
 */
export function createMatchFollow(deps: ControlDependencies) {
  return async function matchFollow({ followId }: { followId: FollowId }): Promise<FollowMatch> {
    const follow = await findFollow(deps.database, { followId });
    if (!follow) return { kind: 'unfollowed' };
    const newest = await findNewest(deps, follow);
    const problem = newest === undefined ? 'no active image matches' : follow.problem;
    await noteFollowChecked(deps.database, { followId, newestImageId: newest?.id ?? null, problem });
    if (newest !== undefined) return { kind: 'match', imageId: newest.id };
    deps.metrics.refreshed({ result: 'no-match' });
    return { kind: 'no-match' };
  };
}

async function findNewest({ images, config }: ControlDependencies, follow: FollowRow): Promise<Image | undefined> {
  const { imageName: name, owner, tags, properties } = follow;
  // With an identity our account may see images of any project: without an owner, whoever names his image like this would be followed.
  const visibility = config.identity !== undefined && owner === null ? 'public' : undefined;
  let marker: string | undefined;
  for (let page = 1; page <= MAX_PAGES; page += 1) {
    const query = {
      name,
      owner: owner ?? undefined,
      visibility,
      tags,
      properties,
      status: 'active',
      limit: PAGE_IMAGES,
    } as const;
    const found = await images.listImages({ ...query, marker }, cancellationSignal());
    const newest = found.images.find(
      (image) => isMeant(image, follow) && (visibility === undefined || image.visibility === visibility),
    );
    if (newest !== undefined || found.nextMarker === undefined) return newest;
    marker = found.nextMarker;
    heartbeat({ stage: 'waiting', summary: `${page} pages of the image service's list read` });
  }
  return undefined;
}

/**
 * The service takes some values for more than a value (`in:a,b`), and may not know a filter: its answer is
 * filtered again here.
 */
function isMeant(image: Image, { imageName, owner, tags, properties }: FollowRow): boolean {
  return (
    image.status === 'active' &&
    !image.hidden &&
    image.name === imageName &&
    (owner === null || image.owner === owner) &&
    tags.every((tag) => image.tags.includes(tag)) &&
    Object.entries(properties).every(([key, value]) => image.properties[key] === value)
  );
}

/** Lets the follow point to what is ready now and supersedes what it pointed to. Idempotent. */
export function createFlipFollow(deps: ControlDependencies) {
  return async function flipFollow(request: {
    followId: FollowId;
    imageId: ImageId;
    entryId: EntryId;
  }): Promise<FlipOutcome> {
    const { workflowId } = workflowExecution();
    const flip = await updateFollowPointer(deps.database, { ...request, workflowId });
    if (flip.kind === 'current') deps.metrics.refreshed({ result: flip.flipped ? 'flipped' : 'current' });
    return flip;
  };
}

/** Retires what the follow has superseded and need not stay. Idempotent: free contents are reported again. */
export function createRetireSuperseded(deps: ControlDependencies) {
  return async function retireSuperseded({ followId }: { followId: FollowId }): Promise<RetiredContents> {
    const { workflowId } = workflowExecution();
    return await retireFormerContents(deps.database, { followId, workflowId });
  };
}

/** Writes down why the last check of the follow has come to nothing. Idempotent. */
export function createNoteFollowProblem(deps: ControlDependencies) {
  return async function noteFollowProblem(request: { followId: FollowId; problem: string }): Promise<void> {
    await noteFollowChecked(deps.database, request);
    deps.metrics.refreshed({ result: 'failed' });
  };
}
