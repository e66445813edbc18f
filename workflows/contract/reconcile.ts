import type { BackendName } from './ids';

/** Everything that can disagree between rows and what backend, scratch and Temporal really hold. The action for each: the table of findings in `docs/manual/failures.md`. */
export const findingKinds = [
  /** A row `available` whose volume is not on the backend. */
  'volume-missing',
  /** A volume of this installation without a row: never deleted, `--adopt` makes its row again. */
  'volume-without-row',
  /** Its row says deleted. */
  'volume-of-deleted-row',
  /** A row `available` whose snapshot is not on the backend. */
  'snapshot-missing',
  /** A snapshot of this installation without a row, or whose row is deleted: never deleted. */
  'snapshot-without-row',
  /** A snapshot that a run has taken for an image, and that has closed without removing it. */
  'snapshot-of-ended-run',
  'stuck-snapshot',
  /** A clone of a volume in the image service's store, whose image is gone. */
  'pointer-without-image',
  /** The image is there, and its clone is not. */
  'pointer-missing',
  /** It keeps the bytes of a deleted volume. */
  'pointer-of-deleted-volume',
  'entry-missing',
  'entry-changed',
  /** Accepted under another policy and not allowed under the one in force. */
  'entry-against-policy',
  'image-volume-without-row',
  'partial',
  /** Of another installation, or nobody's: never touched. */
  'foreign',
  'stuck-reimage',
  'stuck-upload',
  /** Its upload has ended early, and could not remove it. */
  'image-without-bytes',
  'stuck-creating',
  'stuck-deleting',
  'stuck-populating',
  'stuck-entry-deletion',
  'clone-count-wrong',
  'scratch-without-row',
  'scratch-row-without-file',
  /** Its user has ended. */
  'scratch-unused',
  'scratch-of-lost-host',
  'digest-mismatch',
] as const;
export type FindingKind = (typeof findingKinds)[number];

export interface Finding {
  kind: FindingKind;
  /** Name on the backend, id of the row, or content hash. */
  object: string;
  /** One sentence for people. */
  found: string;
  bytes: number | null;
  /** `young`: within the grace age, compared again next time. */
  action: 'repaired' | 'would-repair' | 'reported' | 'adopted' | 'would-adopt' | 'young' | 'failed';
}

/** Input of `ReconcileBackend`. */
export interface ReconcileInput {
  backend: BackendName;
  dryRun?: boolean;
  /** Makes rows again for volumes whose markers tell all of them. */
  adopt?: boolean;
  /** Reads sealed parents and compares them with their digests. */
  scrub?: boolean;
}

export interface ReconcileResult {
  backend: BackendName;
  dryRun: boolean;
  /** Objects and rows that were compared. */
  looked: number;
  /** The first 200; the counts have all. */
  findings: Finding[];
  counts: Partial<Record<FindingKind, number>>;
  digested: number;
  scrubbed: number;
  /** Parts that could not be compared, a sentence each; the next run tries again. */
  problems: string[];
  /** One sentence for people. */
  summary: string;
}

/**
 * The result of one step of a reconciliation. Every step has the input `{ backend, dryRun, … }`, may be repeated and
 * goes on where its last try was.
 */
export interface ReconcileStep {
  /** Objects and rows that were compared. */
  looked: number;
  /** Of many, the first. */
  findings: Finding[];
  /** Of all, where `findings` has not all of them. */
  counts?: Partial<Record<FindingKind, number>>;
  digested?: number;
  scrubbed?: number;
}
