import type { FastifyRequest } from 'fastify';
import type { Snapshot } from '../../client/records';
import { timeOf } from './time';
import { sizeGiB } from './volume';

/** @returns Cinder's status of a snapshot. */
export function snapshotStatusOf({ state, status }: Pick<Snapshot, 'state' | 'status'>): string {
  return state === 'available' ? (status ?? state) : state;
}

/** A snapshot as a list without details shows it. Source: `cinder.api.views.snapshots`. */
export function snapshotSummary(_request: FastifyRequest, snapshot: Snapshot) {
  return {
    id: snapshot.snapshotId,
    created_at: timeOf(snapshot.createdAt),
    updated_at: timeOf(snapshot.updatedAt),
    name: snapshot.name,
    description: snapshot.description,
    volume_id: snapshot.volumeId,
    status: snapshotStatusOf(snapshot),
    size: sizeGiB(snapshot.sizeBytes),
    metadata: snapshot.metadata,
  };
}

/** A snapshot as its create and its update answer it. */
export function snapshotBody(request: FastifyRequest, snapshot: Snapshot) {
  const { minor } = request;
  return {
    ...snapshotSummary(request, snapshot),
    ...(minor >= 14 && { group_snapshot_id: null }),
    ...(minor >= 41 && { user_id: snapshot.requestedBy }),
    ...(minor >= 65 && { consumes_quota: true }),
  };
}

/** A snapshot with all that the request's microversion knows. */
export function snapshotDetail(request: FastifyRequest, snapshot: Snapshot) {
  const finished = snapshot.state === 'available' ? '100%' : '0%';
  return {
    ...snapshotBody(request, snapshot),
    'os-extended-snapshot-attributes:project_id': snapshot.projectId,
    'os-extended-snapshot-attributes:progress': snapshot.progress ?? finished,
  };
}
