import { sql, type SQL } from 'drizzle-orm/sql';
import type { BackendName, ProjectId, VolumeId } from '../workflows/contract/ids';
import type { QuotaName } from '../workflows/contract/quotas';
import { cast, uuids } from './statement';

/* Room for volumes: on their backend, which may promise so much, and within the quotas of their project. */

/** `overSubscription` times the space of the backend's place: `totalBytes`, or what its row has seen last. */
export interface PromiseLimit {
  overSubscription: number;
  totalBytes?: number;
}

export type NoRoom = {
  /** The backend would promise more than it may. Nothing is written. */
  kind: 'no-room';
  /** Of the volumes that are not made already. */
  neededBytes: number;
  promisedBytes: number;
  mostBytes: number;
};
/** A quota of the project does not allow it. Nothing is written. */
export type OverQuota = {
  kind: 'over-quota';
  quota: QuotaName;
  /** Where it is that of a volume type, its name. */
  volumeType?: string;
  limit: number;
  used: number;
  /** By those that do not count already. */
  asked: number;
};

/**
 * As the SQL of one row, under the locks of the sums that it reads: whether the backend may promise `wantedBytes` more (`fits`; null: ask again), what it
 * has promised and may at most, and the quota that volumes of `sizeBytes` each would exceed. @param volumeType of all; null: they have none.
 * @param wantedBytes of those that are not promised yet. Default: of one volume, whose former promise is taken off.
 */
export function roomFor({
  backend,
  projectId,
  volumeType,
  volumeIds,
  sizeBytes,
  wantedBytes,
  limit: { overSubscription, totalBytes } = {},
}: {
  backend: BackendName;
  projectId: ProjectId;
  volumeType: string | null;
  volumeIds: readonly VolumeId[];
  sizeBytes: number | null;
  wantedBytes?: SQL;
  limit?: Partial<PromiseLimit>;
}): SQL {
  const promisedBefore = wantedBytes === undefined ? volumeIds[0] : undefined;
  return sql`select r.fits, r.promised, b.most, over_quota from (
          select floor(coalesce(${totalBytes ?? null}::float8, total_bytes) * ${overSubscription ?? null}::float8)::bigint as most
          from backends where name = ${backend}
        ) b cross join promise_room(${backend}, ${promisedBefore ?? null}::uuid, ${wantedBytes ?? sql`${sizeBytes}::bigint`}, b.most) r
          cross join lateral quota_room(r.fits, ${projectId}, ${uuids(volumeIds)}, ${sizeBytes}::bigint, ${volumeType}::text) over_quota limit 1`;
}

/** Columns that are read of `room`. */
export const roomFields = {
  /** Null where the statement must be repeated. */
  fits: cast.boolean<boolean | null>(sql`room.fits`),
  promisedBytes: cast.integer(sql`room.promised`),
  mostBytes: cast.integer(sql`coalesce(room.most, 0)`),
  overQuota: cast.json<Omit<OverQuota, 'kind'> | null>(sql`room.over_quota`),
};

interface RoomRead {
  fits: boolean | null;
  promisedBytes: number;
  mostBytes: number;
  overQuota: Omit<OverQuota, 'kind'> | null;
}

/** @returns why there is no room; undefined where there is, or where the statement must be repeated. */
export function refusalIn(
  { fits, promisedBytes, mostBytes, overQuota }: RoomRead,
  neededBytes: number,
): NoRoom | OverQuota | undefined {
  if (overQuota !== null) return { kind: 'over-quota', ...overQuota };
  return fits === false ? { kind: 'no-room', neededBytes, promisedBytes, mostBytes } : undefined;
}
