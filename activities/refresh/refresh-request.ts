import { z } from 'zod';
import { selectFollows } from '../../db/follows/follows';
import { stayReasons, type StayReason } from '../../workflows/contract/eviction';
import { Failure } from '../../workflows/contract/failures';
import type { BackendName } from '../../workflows/contract/ids';
import type { ControlDependencies } from '../dependencies';
import { boundedText, parseRequest, uuid, chooseBackend, followName } from '../kit/request';
import { type FollowToCheck } from '../../workflows/contract/refresh';

const MAX_IMAGES = 1000;
/** Follows of one run. */
const MAX_FOLLOWS = 1000;

const count = z.int().min(0);

/** State that a run writes for the one that goes on with it. */
const cursorSchema = z.strictObject({
  afterImageId: uuid.nullable(),
  imagesDone: z.boolean(),
  missing: z.array(uuid).optional(),
  result: z.strictObject({
    imagesAsked: count,
    usable: count,
    deactivated: count,
    gone: count,
    unbelieved: count.optional(),
    doubt: z.string().nullable().optional(),
    unanswered: count,
    retiredEntries: z.array(uuid),
    keptEntries: z.array(z.strictObject({ entryId: uuid, why: z.literal(Object.keys(stayReasons) as StayReason[]) })),
    deletedEntries: count,
    follows: z.array(z.looseObject({ followId: uuid, name: followName })),
    summary: z.string(),
  }),
});

const refreshSchema = z.strictObject({
  imageIds: z
    .array(uuid, 'a list of image ids')
    .min(1, 'at least one image id')
    .max(MAX_IMAGES, `at most ${MAX_IMAGES} image ids`)
    .optional(),
  follow: followName.optional(),
  backend: boundedText(40).optional(),
  acceptMissing: z.boolean().optional(),
  cursor: cursorSchema.optional(),
});

/** Which images are asked for. */
export interface RefreshScope {
  imageIds?: string[];
  backend?: BackendName;
}

export interface RefreshPlan {
  scope: RefreshScope;
  /** Whether images are asked for at all: not where only a follow is meant. */
  asksImages: boolean;
  follows: FollowToCheck[];
}

/** @returns what a refresh is to check. @throws InvalidRequest, FollowNotFound (final). */
export function createPlanRefresh(deps: ControlDependencies) {
  return async function planRefresh(input: unknown): Promise<RefreshPlan> {
    const { imageIds, follow, backend: named } = parseRequest(refreshSchema, input ?? {});
    const backend = named === undefined ? undefined : chooseBackend(deps, named);
    const scope = { imageIds, backend };
    const checksFollows = follow !== undefined || imageIds === undefined;
    const rows = checksFollows ? await selectFollows(deps.database, { backend, name: follow, limit: MAX_FOLLOWS }) : [];
    if (follow !== undefined && rows.length === 0) {
      const where = backend ?? Object.keys(deps.config.backends).join(', ');
      throw new Failure('FollowNotFound', { follow, backend: where, found: 'unknown' });
    }
    const follows = rows.map((row) => ({ followId: row.id, name: row.name, backend: row.backend }));
    return { scope, asksImages: follow === undefined || imageIds !== undefined, follows };
  };
}
