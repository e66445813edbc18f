import type { ProjectQuotas } from '../../client/records';
import { GiB } from '../../workflows/contract/bytes';
import type { KeptQuotaName, QuotaName, SettableQuota, TypeQuotaName } from '../../workflows/contract/quotas';

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

/** Quotas with limits for each volume type. */
const ofType = ['volumes', 'gigabytes', 'snapshots'] as const;

/** Usage of a volume type by a project. */
export interface UsageOfType {
  volumes: number;
  snapshots: number;
  bytes: number;
}

/** @param others what is set beside `quotas`. @returns every quota of a project by Cinder's name, of each of these volume types too. */
export function quotaSetOf(
  { quotas }: ProjectQuotas,
  others: Partial<Record<KeptQuotaName | TypeQuotaName, number | null>>,
  types: ReadonlyMap<string, UsageOfType>,
): Record<string, QuotaOfSet> {
  const known = Object.entries(quotaNamesOf).map(([name, ours]): [string, QuotaOfSet] => {
    const quota =
      ours in quotas ? quotas[ours as QuotaName] : { limit: others[ours as KeptQuotaName] ?? null, used: null };
    return [name, quotaOf(ours, quota)];
  });
  const typed = [...types].flatMap(([type, usage]) =>
    ofType.map((name): [string, QuotaOfSet] => {
      const ours = quotaNamesOf[name];
      return [`${name}_${type}`, quotaOf(ours, { limit: others[`${ours}:${type}`] ?? null, used: usage[ours] })];
    }),
  );
  return Object.fromEntries([...known, ...typed]);
}

function quotaOf(ours: string, { limit, used }: { limit: number | null; used: number | null }): QuotaOfSet {
  return {
    limit: toLimit(ours, limit),
    in_use: isInBytes(ours) ? Math.ceil((used ?? 0) / GiB) : (used ?? 0),
    reserved: 0,
  };
}

/** -1 for no limit; in GiB where ours is in bytes. @param ours our name of it. */
export function toLimit(ours: string, limit: number | null): number {
  if (limit === null) return -1;
  return isInBytes(ours) ? Math.floor(limit / GiB) : limit;
}

/** As `toLimit`, the other way round. */
export function fromLimit(ours: string, limit: number): number | null {
  if (limit === -1) return null;
  return isInBytes(ours) ? limit * GiB : limit;
}

function isInBytes(ours: string): boolean {
  return ours.split(':')[0]?.endsWith('ytes') ?? false;
}

/** @param types the names of all volume types. @returns our name of a quota, such as `bytes:fast` of `gigabytes_fast`; undefined: there is none of this name. */
export function ourQuotaName(name: string, types: readonly string[]): SettableQuota | undefined {
  if (Object.hasOwn(quotaNamesOf, name)) return quotaNamesOf[name as CinderQuota];
  for (const kind of ofType)
    for (const type of types) if (name === `${kind}_${type}`) return `${quotaNamesOf[kind]}:${type}`;
  return undefined;
}

/** @returns the limits alone. */
export function limitsOf(quotas: Record<string, QuotaOfSet>): Record<string, number> {
  return Object.fromEntries(Object.entries(quotas).map(([name, { limit }]) => [name, limit]));
}
