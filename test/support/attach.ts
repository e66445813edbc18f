import type { VolumeId } from '../../workflows/contract/ids';
import type { Database } from '../../db/client';

/** Records who has the volume attached, as the service that attaches it does; only an `available` one can be. @returns whether it is recorded. */
export async function setAttached(
  { sql }: Database,
  { volumeId, attachedTo }: { volumeId: VolumeId; attachedTo: string | null },
): Promise<boolean> {
  const rows = await sql`update volumes set attached_to = ${attachedTo}, updated_at = now()
    where id = ${volumeId} and state = 'available' returning id`;
  return rows.length > 0;
}
