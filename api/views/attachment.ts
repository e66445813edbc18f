import type { Attachment, Volume } from '../../client/records';
import type { ApiContext } from '../api-context';
import { connectionInfoOf } from '../connection-info';
import { timeOf } from './time';

/** An attachment as a list without details shows it. Source: `cinder.api.v3.views.attachments`. */
export function attachmentSummary({ attachmentId, status, instanceId, volumeId }: Attachment) {
  return { id: attachmentId, status, instance: instanceId, volume_id: volumeId };
}

/** @param volume its own. An attachment without a connector has no `connection_info` yet. */
export function attachmentDetail(context: ApiContext, attachment: Attachment, volume: Volume | undefined) {
  const { attachmentId, attachedAt, mode, connector } = attachment;
  return {
    ...attachmentSummary(attachment),
    attached_at: attachedAt === null ? '' : timeOf(attachedAt),
    detached_at: '',
    attach_mode: mode ?? 'null',
    connection_info:
      connector === null || volume === undefined ? {} : flatConnection(context, { attachmentId, volume, mode }),
  };
}

function flatConnection(
  context: ApiContext,
  { attachmentId, volume, mode }: Pick<Attachment, 'attachmentId' | 'mode'> & { volume: Volume },
): object {
  const { data, ...connection } = connectionInfoOf(context, volume, mode);
  return { ...data, ...connection, attachment_id: attachmentId };
}

/** Attachments as a volume shows them: those that are done. @param admin whether the hosts are told. */
export function attachmentsOf({ attachments }: Volume, { admin }: { admin: boolean }) {
  return attachments
    .filter(({ status }) => status === 'attached')
    .map(({ attachmentId, volumeId, instanceId, hostName, mountpoint, attachedAt }) => ({
      id: volumeId,
      attachment_id: attachmentId,
      volume_id: volumeId,
      server_id: instanceId,
      host_name: admin ? hostName : null,
      device: mountpoint,
      attached_at: attachedAt === null ? null : timeOf(attachedAt),
    }));
}
