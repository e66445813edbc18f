import type { FastifyRequest } from 'fastify';
import type { StatusCondition } from '../../client/inventory';
import type { Volume } from '../../client/records';
import { GiB } from '../../workflows/contract/bytes';
import { heldStatuses } from '../../workflows/contract/volume';
import { isAdmin } from '../caller';
import { linksOf } from '../links';
import type { ApiContext } from '../api-context';
import { poolOf } from './backend';
import { attachmentsOf } from './attachment';
import { typeOfVolume } from '../volume-types';
import { timeOf } from './time';

/** @returns Cinder's status of a volume. */
export function statusOf({ state, status, imageId }: Pick<Volume, 'state' | 'status' | 'imageId'>): string {
  if (state === 'available') return status ?? 'available';
  return state === 'reimaging' || (state === 'creating' && imageId !== null) ? 'downloading' : state;
}

/** @returns which rows have this status of Cinder's: `statusOf` the other way round; none where it is no status of a volume. */
export function conditionsOf(status: string): StatusCondition[] {
  const held = heldStatuses.find((known) => known === status);
  const ofHeld: StatusCondition[] = held === undefined ? [] : [{ state: 'available', status: held }];
  switch (status) {
    case 'available':
      return [{ state: 'available', status: null }];
    case 'creating':
    case 'downloading':
      return [{ state: 'creating', ofImage: status === 'downloading' }];
    case 'error':
    case 'deleting':
      return [{ state: status }, ...ofHeld];
    default:
      return ofHeld;
  }
}

/** @returns whole GiB, as clients count: what a volume has beyond one counts as one. */
export function sizeGiB(sizeBytes: number | null): number {
  return Math.ceil((sizeBytes ?? 0) / GiB);
}

/** A volume as a list without details shows it. */
export function volumeSummary(request: FastifyRequest, context: ApiContext, { volumeId, name }: Volume) {
  return { id: volumeId, name, links: linksOf(request, context, `volumes/${volumeId}`) };
}

/** A volume as show and lists tell it: with what Cinder's extensions add, which create and update do not answer. */
export function volumeDetail(request: FastifyRequest, context: ApiContext, volume: Volume) {
  return {
    ...volumeBody(request, context, volume),
    'os-vol-tenant-attr:tenant_id': volume.projectId,
    ...(Object.keys(volume.imageMetadata).length > 0 && { volume_image_metadata: volume.imageMetadata }),
    ...(isAdmin(request.caller) && ofAdministrators(volume)),
  };
}

/** A volume with all that the request's microversion knows. Source: `cinder.api.v3.views.volumes`. */
export function volumeBody(request: FastifyRequest, context: ApiContext, volume: Volume) {
  const admin = isAdmin(request.caller);
  const type = typeOfVolume(volume);
  return {
    ...volumeSummary(request, context, volume),
    status: statusOf(volume),
    size: sizeGiB(volume.sizeBytes),
    availability_zone: context.availabilityZone,
    created_at: timeOf(volume.createdAt),
    updated_at: timeOf(volume.updatedAt),
    description: volume.description,
    volume_type: type.name,
    snapshot_id: volume.snapshotId,
    source_volid: volume.sourceVolumeId,
    metadata: { ...volume.metadata, ...(volume.readOnly && { readonly: 'True' }) },
    user_id: volume.requestedBy,
    bootable: String(volume.bootable),
    encrypted: false,
    replication_status: null,
    consistencygroup_id: null,
    multiattach: volume.multiattach,
    attachments: attachmentsOf(volume, { admin }),
    ...(admin && { migration_status: null }),
    ...since(request, { 13: { group_id: null }, 21: admin ? { provider_id: null } : {} }),
    ...since(request, { 48: { shared_targets: false, service_uuid: null }, 61: admin ? { cluster_name: null } : {} }),
    ...since(request, { 63: { volume_type_id: type.id }, 65: { consumes_quota: true } }),
  };
}

function ofAdministrators({ backend }: Volume) {
  return {
    'os-vol-host-attr:host': poolOf(backend),
    'os-vol-mig-status-attr:migstat': null,
    'os-vol-mig-status-attr:name_id': null,
  };
}

/** @returns the fields of all microversions that the request knows. */
function since({ minor }: FastifyRequest, fields: Record<number, object>): object {
  return Object.assign({}, ...Object.entries(fields).map(([from, added]) => (minor >= Number(from) ? added : {})));
}
