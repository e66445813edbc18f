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
export function statusOf({
  state,
  status,
  isReimaging,
  imageId,
}: Pick<Volume, 'state' | 'status' | 'isReimaging' | 'imageId'>): string {
  if (state === 'available') return isReimaging ? 'downloading' : (status ?? 'available');
  return state === 'reimaging' || (state === 'creating' && imageId !== null) ? 'downloading' : state;
}

/** @returns which rows have this status of Cinder's: `statusOf` the other way round; none where it is no status of a volume. */
export function conditionsOf(status: string): StatusCondition[] {
  const held = heldStatuses.find((known) => known === status);
  const ofHeld: StatusCondition[] =
    held === undefined ? [] : [{ state: 'available', status: held, isReimaging: false }];
  switch (status) {
    case 'available':
      return [{ state: 'available', status: null, isReimaging: false }];
    case 'creating':
      return [{ state: 'creating', ofImage: false }, ...ofHeld];
    case 'downloading':
      return [{ state: 'creating', ofImage: true }, { state: 'reimaging' }, { state: 'available', isReimaging: true }];
    case 'error':
    case 'deleting':
      return [{ state: status }, ...ofHeld];
    default:
      return ofHeld;
  }
}

/** @returns whole GiB, as clients count: a part of one counts as one. */
export function sizeGiB(sizeBytes: number | null): number {
  return Math.ceil((sizeBytes ?? 0) / GiB);
}

/** A volume as a list without details shows it. */
export function volumeSummary(request: FastifyRequest, context: ApiContext, { volumeId, name }: Volume) {
  return { id: volumeId, name, links: linksOf(request, context, `volumes/${volumeId}`) };
}

/** A volume as show and lists tell it: with what Cinder's extensions add, which create and update do not answer. */
export function volumeDetail(request: FastifyRequest, context: ApiContext, volume: Volume) {
  return viewOf(request, context, { volume, detail: true });
}

/** A volume with all that the request's microversion knows. Source: `cinder.api.v3.views.volumes`. */
export function volumeBody(request: FastifyRequest, context: ApiContext, volume: Volume) {
  return viewOf(request, context, { volume, detail: false });
}

/**
 * Undefined fields are not sent. One literal: a list of 1,000 volumes is 1,000 of them, and each part that was spread into them took longer than what the
 * database does for it.
 */
function viewOf(request: FastifyRequest, context: ApiContext, { volume, detail }: { volume: Volume; detail: boolean }) {
  const { minor } = request;
  const admin = isAdmin(request.caller);
  const toAdmin = detail && admin;
  const type = typeOfVolume(volume);
  const { volumeId, readOnly, metadata, imageMetadata } = volume;
  return {
    id: volumeId,
    name: volume.name,
    links: linksOf(request, context, `volumes/${volumeId}`),
    status: statusOf(volume),
    size: sizeGiB(volume.sizeBytes),
    availability_zone: context.availabilityZone,
    created_at: timeOf(volume.createdAt),
    updated_at: timeOf(volume.updatedAt),
    description: volume.description,
    volume_type: type.name,
    snapshot_id: volume.snapshotId,
    source_volid: volume.sourceVolumeId,
    metadata: readOnly ? { ...metadata, readonly: 'True' } : metadata,
    user_id: volume.requestedBy,
    bootable: String(volume.bootable),
    encrypted: false,
    replication_status: null,
    consistencygroup_id: null,
    multiattach: volume.multiattach,
    attachments: attachmentsOf(volume, { admin }),
    migration_status: admin ? null : undefined,
    group_id: minor >= 13 ? null : undefined,
    provider_id: minor >= 21 && admin ? null : undefined,
    shared_targets: minor >= 48 ? false : undefined,
    service_uuid: minor >= 48 ? null : undefined,
    cluster_name: minor >= 61 && admin ? null : undefined,
    volume_type_id: minor >= 63 ? type.id : undefined,
    consumes_quota: minor >= 65 ? true : undefined,
    'os-vol-tenant-attr:tenant_id': detail ? volume.projectId : undefined,
    volume_image_metadata: detail && Object.keys(imageMetadata).length > 0 ? imageMetadata : undefined,
    'os-vol-host-attr:host': toAdmin ? poolOf(volume.backend) : undefined,
    'os-vol-mig-status-attr:migstat': toAdmin ? null : undefined,
    'os-vol-mig-status-attr:name_id': toAdmin ? null : undefined,
  };
}
