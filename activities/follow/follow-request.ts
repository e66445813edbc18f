import { z } from 'zod';
import { deleteFollow, upsertFollow } from '../../db/follows/follows';
import { MAX_CALLER_CHARACTERS } from '../../workflows/contract/event-kinds';
import { Failure } from '../../workflows/contract/failures';
import type { ProjectId } from '../../workflows/contract/ids';
import { followNamePattern, type UnfollowResult, type FollowToCheck } from '../../workflows/contract/refresh';
import type { ControlDependencies } from '../dependencies';
import { boundedText, parseRequest, chooseBackend, followName } from '../kit/request';
import { workflowExecution } from '../kit/runs';
import { quote } from '../../workflows/contract/words';

const MAX_TAGS = 128;
const MAX_PROPERTIES = 128;
const MAX_KEPT = 100;

const followSchema = z.strictObject({
  imageName: boundedText(255),
  name: followName.optional(),
  owner: boundedText(64).optional(),
  tags: z.array(boundedText(255), 'a list of texts').max(MAX_TAGS, `at most ${MAX_TAGS} tags`).optional(),
  properties: z
    .record(boundedText(255), boundedText(255))
    .refine((own) => Object.keys(own).length <= MAX_PROPERTIES, `at most ${MAX_PROPERTIES} entries`)
    .optional(),
  backend: boundedText(40).optional(),
  keep: z
    .int('a whole number')
    .min(0, 'a whole number from 0')
    .max(MAX_KEPT, `a whole number up to ${MAX_KEPT}`)
    .optional(),
  pin: z.boolean().optional(),
  by: boundedText(255).optional(),
});

/**
 * Sets the follow that the input describes, or changes the one of that name. Idempotent.
 * @throws InvalidRequest (final). Undo: `removeFollow`.
 */
export function createSetFollow(deps: ControlDependencies) {
  return async function setFollow(input: unknown): Promise<FollowToCheck> {
    const request = parseRequest(followSchema, input);
    const { imageName, name = imageName, tags = [], properties = {}, pin = false } = request;
    if (!followNamePattern.test(name))
      throw new Failure('InvalidRequest', {
        field: 'name',
        value: quote(name),
        allowed: 'a name of at most 64 letters, digits, and . _ + -, which the name of the image is not',
      });
    const backend = chooseBackend(deps, request.backend);
    const keep = request.keep ?? deps.config.backends[backend]?.cache.keepSuperseded ?? 0;
    const row = await upsertFollow(deps.database, {
      name,
      imageName,
      owner: request.owner as ProjectId | undefined,
      tags: [...new Set(tags)].sort(),
      properties,
      backend,
      keep,
      pin,
      by: request.by ?? workflowExecution().workflowId,
      source: workflowExecution(),
    });
    return { followId: row.id, name: row.name, backend: row.backend };
  };
}

const unfollowSchema = z.strictObject({
  name: followName,
  backend: boundedText(40).optional(),
  by: boundedText(MAX_CALLER_CHARACTERS).optional(),
});

/** Ends a follow. Idempotent. @throws InvalidRequest (final). */
export function createRemoveFollow(deps: ControlDependencies) {
  return async function removeFollow(input: unknown): Promise<UnfollowResult> {
    const { name, backend: named, by } = parseRequest(unfollowSchema, input);
    const backend = chooseBackend(deps, named);
    const source = { ...workflowExecution(), by };
    const removed = await deleteFollow(deps.database, { backend, name, source });
    return { name, backend, outcome: removed ? 'removed' : 'absent' };
  };
}
