import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import type { Snapshot } from '../../client/records';
import { changeSnapshot } from '../../client/snapshots';
import { startSnapshotDelete } from '../../client/start-volume';
import type { ImageVolumeCache } from '../../client/connection';
import { heldSnapshotStatuses } from '../../workflows/contract/snapshot';
import type { ApiContext } from '../api-context';
import { isAdmin } from '../caller';
import { badRequest, forbidden } from '../errors';
import { orGoesOn } from '../or-goes-on';
import { actionSchema } from '../schemas/action';
import { nonEmptyText } from '../schemas/common-fields';
import { checkInput } from '../validation';
import { snapshotStatusOf } from '../views/snapshot';
import { requesterOf } from '../requester';
import { snapshotOfPath } from './snapshots';

interface Asked {
  cache: ImageVolumeCache;
  snapshot: Snapshot;
  given: unknown;
  who: { by: string; requestId: string };
}

const statuses = z
  .string()
  .toLowerCase()
  .pipe(z.enum([...heldSnapshotStatuses, 'available']));

/** Which status may follow another. Source: `cinder.api.contrib.snapshot_actions`. */
const following: Readonly<Record<string, readonly string[]>> = {
  creating: ['creating', 'available', 'error'],
  deleting: ['deleting', 'error_deleting'],
};

/** By their names in the body. */
const actions: Readonly<Record<string, (asked: Asked) => Promise<void>>> = {
  'os-reset_status': async ({ cache, snapshot, given, who }) => {
    const { status } = checkInput(z.strictObject({ status: statuses }), given);
    if (status !== snapshotStatusOf(snapshot)) await changeSnapshot(cache, snapshot.snapshotId, { status, ...who });
  },
  'os-update_snapshot_status': async ({ cache, snapshot, given, who }) => {
    const schema = z.strictObject({ status: statuses, progress: nonEmptyText(255).nullish() });
    const { status, progress } = checkInput(schema, given);
    const current = snapshotStatusOf(snapshot);
    const allowed = following[current];
    if (allowed === undefined) throw badRequest(`Snapshot status ${current} not allowed for update_snapshot_status`);
    if (!allowed.includes(status))
      throw badRequest(`Provided snapshot status ${status} not allowed for snapshot with status ${current}.`);
    await changeSnapshot(cache, snapshot.snapshotId, { status, progress: progress ?? undefined, ...who });
  },
  'os-force_delete': async ({ cache, snapshot, who }) => {
    await orGoesOn((signal) => startSnapshotDelete(cache, snapshot.snapshotId, { signal, ...who }));
  },
};

/** The one that is not administrators' alone. Source: `cinder.policies.snapshot_actions`. */
const OF_MEMBERS = 'os-update_snapshot_status';

/** `POST snapshots/{id}/action`. */
export function registerSnapshotActions(app: FastifyInstance, context: ApiContext): void {
  app.post<{ Body: Record<string, unknown> }>(
    '/snapshots/:snapshot_id/action',
    { schema: { body: actionSchema } },
    async (request, reply) => {
      const [[name, given] = ['', undefined]] = Object.entries(request.body);
      const act = Object.hasOwn(actions, name) ? actions[name] : undefined;
      if (act === undefined) throw badRequest(`There is no such action: ${name.slice(0, 64)}.`);
      if (name !== OF_MEMBERS && !isAdmin(request.caller)) throw forbidden(name);
      const snapshot = await snapshotOfPath(request, context);
      const { by, requestId } = requesterOf(request);
      await act({ cache: context.cache, snapshot, given, who: { by, requestId } });
      return reply.code(202).send();
    },
  );
}
