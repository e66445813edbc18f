import type { ProjectQuotas } from '../../client/records';
import { GiB } from '../../workflows/contract/bytes';
import type { KeptQuotaName, QuotaName } from '../../workflows/contract/quotas';

/** Cinder's names, in its order, of what is limited or kept; in GiB where ours is in bytes. */
export const quotaNamesOf = {
  volumes: 'volumes',
  per_volume_gigabytes: 'volumeBytes',
  snapshots: 'snapshots',
  gigabytes: 'bytes',
  backups: 'backups',
  backup_gigabytes: 'backupBytes',
  groups: 'groups',
} as const satisfies Record<string, QuotaName | KeptQuotaName>;
export type CinderQuota = keyof typeof quotaNamesOf;

export interface QuotaOfSet {
  /** -1: none. */
  limit: number;
  in_use: number;
  reserved: number;
}

/** What has limits for each volume type. */
const ofType = ['volumes', 'gigabytes', 'snapshots'] as const;
const unlimited: QuotaOfSet = { limit: -1, in_use: 0, reserved: 0 };

/** @returns every quota of a project by Cinder's name. No volume type has limits of its own. */
export function quotaSetOf(
  { quotas }: ProjectQuotas,
  kept: Partial<Record<KeptQuotaName, number | null>>,
  typeNames: readonly string[],
): Record<string, QuotaOfSet> {
  const known = Object.entries(quotaNamesOf).map(([name, ours]): [string, QuotaOfSet] => {
    const { limit, used } =
      ours in quotas ? quotas[ours as QuotaName] : { limit: kept[ours as KeptQuotaName] ?? null, used: null };
    const inGiB = ours.endsWith('ytes');
    return [
      name,
      {
        limit: limit === null ? -1 : inGiB ? Math.floor(limit / GiB) : limit,
        in_use: inGiB ? Math.ceil((used ?? 0) / GiB) : (used ?? 0),
        reserved: 0,
      },
    ];
  });
  const types = typeNames.flatMap((type) => ofType.map((name): [string, QuotaOfSet] => [`${name}_${type}`, unlimited]));
  return Object.fromEntries([...known, ...types]);
}

/** @returns the limits alone. */
export function limitsOf(quotas: Record<string, QuotaOfSet>): Record<string, number> {
  return Object.fromEntries(Object.entries(quotas).map(([name, { limit }]) => [name, limit]));
}
