import type { AttachmentRow } from '../../db/schema';

/** @returns who has a volume by an attachment of it, for people. */
export function nameHolder({
  instanceId,
  hostName,
  id,
}: Pick<AttachmentRow, 'id' | 'instanceId' | 'hostName'>): string {
  if (instanceId !== null) return `server ${instanceId}`;
  return hostName === null || hostName === '' ? `attachment ${id}` : `host ${hostName}`;
}
