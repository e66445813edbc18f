import { z } from 'zod';
import { hideMessage } from '../../db/messages';
import { scopeOf } from '../../db/scope';
import { Failure } from '../../workflows/contract/failures';
import type { ProjectId } from '../../workflows/contract/ids';
import type { DeleteMessageResult } from '../../workflows/contract/message';
import type { ControlDependencies } from '../dependencies';
import { callerSchema, parseRequest, projectId, uuid } from '../kit/request';

const schema = z.strictObject({ messageId: uuid, projectId: projectId.optional(), ...callerSchema });

/** Nobody is told a message any more; its subject stays. Idempotent. @throws InvalidRequest, MessageNotFound (final). */
export function createDeleteMessage(deps: ControlDependencies) {
  return async function forgetMessage(input: unknown): Promise<DeleteMessageResult> {
    const { messageId, projectId: project } = parseRequest(schema, input);
    const scope = scopeOf(project as ProjectId | undefined);
    if (!(await hideMessage(deps.database, { messageId, scope }))) throw new Failure('MessageNotFound', { messageId });
    return { messageId };
  };
}
