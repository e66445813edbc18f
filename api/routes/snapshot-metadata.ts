import type { FastifyInstance } from 'fastify';
import { getSnapshot } from '../../client/reads';
import { changeSnapshot } from '../../client/snapshots';
import type { ApiContext } from '../api-context';
import { requesterOf } from '../requester';
import { registerMetadata } from './resource-metadata';
import { snapshotOfPath } from './snapshots';

/** `snapshots/{id}/metadata`. */
export function registerSnapshotMetadata(app: FastifyInstance, context: ApiContext): void {
  registerMetadata(app, '/snapshots/:snapshot_id', {
    read: async (request) => (await snapshotOfPath(request, context)).metadata,
    change: async (request, changeOf) => {
      const { snapshotId, metadata } = await snapshotOfPath(request, context);
      await changeSnapshot(context.cache, snapshotId, { ...changeOf(metadata), ...requesterOf(request) });
      return (await getSnapshot(context.cache, snapshotId)).metadata;
    },
  });
}
