import { v5 as uuidV5 } from 'uuid';
import { z } from 'zod';
import { changeAttachments } from '../../db/attachments';
import { scopeOf } from '../../db/scope';
import { attachmentChanges, attachModes, type ChangeAttachmentResult } from '../../workflows/contract/attachment';
import { Failure } from '../../workflows/contract/failures';
import type { ProjectId, VolumeId } from '../../workflows/contract/ids';
import { MAX_NAME_CHARACTERS } from '../../workflows/contract/volume-changes';
import type { ControlDependencies } from '../dependencies';
import { boundedText, callerSchema, parseRequest, projectId, storableText, uuid } from '../kit/request';
import { workflowExecution } from '../kit/runs';
import { decideChange } from './decide-change';

/** Characters of a connector, as JSON. */
const MAX_CONNECTOR_CHARACTERS = 16_384;

const changeSchema = z.strictObject({
  volumeId: uuid,
  projectId: projectId.optional(),
  change: z.enum(attachmentChanges, attachmentChanges.join(', ')),
  attachmentId: uuid.optional(),
  instanceId: boundedText(MAX_NAME_CHARACTERS).optional(),
  hostName: storableText(MAX_NAME_CHARACTERS).optional(),
  mountpoint: boundedText(MAX_NAME_CHARACTERS).optional(),
  mode: z.enum(attachModes, attachModes.join(' or ')).optional(),
  connector: z
    .record(z.string(), z.unknown(), 'an object')
    .refine(
      (connector) => JSON.stringify(connector).length <= MAX_CONNECTOR_CHARACTERS,
      `at most ${MAX_CONNECTOR_CHARACTERS} characters of JSON`,
    )
    .optional(),
  byService: z.boolean('true or false').optional(),
  ...callerSchema,
});

/** Namespace of the attachments' ids that are derived from runs (RFC 9562, version 5). */
const ATTACHMENT_ID_NAMESPACE = '5b1f4f0a-9a44-4c1e-8a59-3d0c7a9e2b61';

/**
 * Makes, changes or ends an attachment of a volume, or takes the volume in hand for one, with its event. Idempotent.
 * @throws InvalidRequest, VolumeNotFound, VolumeNotReady, VolumeInUse, AttachmentNotFound, AttachmentInUse (final).
 */
export function createChangeAttachment(deps: ControlDependencies) {
  return async function changeAttachment(input: unknown): Promise<ChangeAttachmentResult> {
    const { by, requestId, projectId: project, ...request } = parseRequest(changeSchema, input);
    const { volumeId: given, attachmentId: givenId, ...change } = request;
    const volumeId = given as VolumeId;
    const run = workflowExecution();
    const newId = givenId ?? uuidV5(`${run.workflowId}/${run.runId}`, ATTACHMENT_ID_NAMESPACE);
    const changed = await changeAttachments(deps.database, {
      volumeId,
      scope: scopeOf(project as ProjectId | undefined),
      source: { by, requestId, ...run },
      decide: (held) => decideChange(held, { ...change, givenId, newId, now: new Date() }),
    });
    if (changed.kind === 'absent') throw new Failure('VolumeNotFound', { volumeId });
    const { attachmentId, status } = changed;
    return { volumeId, attachmentId, status };
  };
}
