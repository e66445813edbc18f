/**
 * What of a project is limited. `bytes` is the size of all its volumes together, and of its snapshots where the installation counts those,
 * `volumeBytes` of each volume.
 */
export const quotaNames = ['volumes', 'snapshots', 'bytes', 'volumeBytes'] as const;
export type QuotaName = (typeof quotaNames)[number];

/** What nothing here uses, as the block-storage API's clients set it: it is kept and told, and limits nothing. In bytes where it says so. */
export const keptQuotaNames = ['backups', 'backupBytes', 'groups'] as const;
export type KeptQuotaName = (typeof keptQuotaNames)[number];

/** What stands behind a number of each. */
export const quotaUnits: Record<QuotaName, string> = {
  volumes: 'volumes',
  snapshots: 'snapshots',
  bytes: 'bytes',
  volumeBytes: 'bytes for one volume',
};

/** Their limits; null: none. */
export type Quotas = Record<QuotaName, number | null>;

/** Input of `SetQuotas`. A quota that is left out stays as it is; `default` is what the configuration has. */
export interface SetQuotasInput {
  projectId: string;
  quotas: Partial<Record<QuotaName | KeptQuotaName, number | null | 'default'>>;
  /** Who asks, for the record. */
  by?: string;
}

export interface SetQuotasResult {
  projectId: string;
  /** Those that an operator has set, with this run's. */
  set: Partial<Quotas & Record<KeptQuotaName, number | null>>;
}
