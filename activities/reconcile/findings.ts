import type { FindingKind } from '../../workflows/contract/reconcile';

/**
 * Whether a kind of finding is left alone until it is as old as `schedules.grace`. `docs/manual/failures.md` says of every kind
 * what is found, and what is done about it.
 */
export const hasGrace: Record<FindingKind, boolean> = {
  'volume-missing': true,
  'volume-without-row': false,
  'volume-of-deleted-row': true,
  'snapshot-missing': false,
  'snapshot-without-row': false,
  'snapshot-of-ended-run': true,
  'stuck-snapshot': true,
  'pointer-without-image': true,
  'pointer-missing': false,
  'pointer-of-deleted-volume': true,
  'entry-missing': false,
  'entry-changed': false,
  'entry-against-policy': false,
  'image-volume-without-row': true,
  partial: true,
  foreign: false,
  'stuck-reimage': true,
  'stuck-upload': true,
  'image-without-bytes': true,
  'stuck-creating': true,
  'stuck-deleting': true,
  'stuck-populating': true,
  'stuck-entry-deletion': true,
  'clone-count-wrong': false,
  'scratch-without-row': true,
  'scratch-row-without-file': true,
  'scratch-unused': true,
  'scratch-of-lost-host': false,
  'digest-mismatch': false,
};
