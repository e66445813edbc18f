/**
 * Limited quantities of a project. `bytes` is the size of all its volumes together, and of its snapshots where the installation counts those,
 * `volumeBytes` of each volume.
 */
export const quotaNames = ['volumes', 'snapshots', 'bytes', 'volumeBytes'] as const;
export type QuotaName = (typeof quotaNames)[number];

/** Quotas that nothing here uses, as the block-storage API's clients set them: kept and told, without an effect. In bytes where the name says so. */
export const keptQuotaNames = ['backups', 'backupBytes', 'groups'] as const;
export type KeptQuotaName = (typeof keptQuotaNames)[number];

/** Limited quantities of a volume type's volumes. */
export const typeQuotaNames = ['volumes', 'snapshots', 'bytes'] as const satisfies readonly QuotaName[];
/** Such as `bytes:fast`, of the type `fast`. */
export type TypeQuotaName = `${(typeof typeQuotaNames)[number]}:${string}`;

/** @returns whether it is of a volume type. */
export function isTypeQuota(name: string): name is TypeQuotaName {
  const [kind, ...rest] = name.split(':');
  return rest.join(':') !== '' && typeQuotaNames.some((known) => known === kind);
}

export type SettableQuota = QuotaName | KeptQuotaName | TypeQuotaName;

/** The class whose quotas every project has that nobody has set others for; they go before the configuration's. */
export const DEFAULT_CLASS = 'default';

/** The unit behind a number of each. */
export const quotaUnits: Record<QuotaName, string> = {
  volumes: 'volumes',
  snapshots: 'snapshots',
  bytes: 'bytes',
  volumeBytes: 'bytes for one volume',
};

/** Their limits; null: none. */
export type Quotas = Record<QuotaName, number | null>;

/** Input of `SetQuotas`: of a project, or of a class of quotas. A quota that is left out stays as it is; `default` takes back what was set. */
export type SetQuotasInput = (
  { projectId: string; quotaClass?: undefined } | { quotaClass: string; projectId?: undefined }
) & {
  quotas: Partial<Record<SettableQuota, number | null | 'default'>>;
  /** The caller, for the record. */
  by?: string;
};

export interface SetQuotasResult {
  /** Of one of the two. */
  projectId?: string;
  quotaClass?: string;
  /** Those that an operator has set, with this run's. */
  set: Partial<Record<SettableQuota, number | null>>;
}
