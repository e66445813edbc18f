import type { FindingKind } from '../../workflows/contract/reconcile';

export interface FindingRule {
  /** What is found. */
  found: string;
  /** What is done about it. */
  done: string;
  /** `repairs`: by itself. `reports`: a person decides. */
  does: 'repairs' | 'reports';
  /** Whether it is left alone until it is as old as `schedules.grace`. */
  grace: boolean;
}

/**
 * What the reconciler may find, and what it does about each; `docs/operating.md` has the same table. A new kind cannot
 * be added without deciding both.
 */
export const findingRules: Record<FindingKind, FindingRule> = {
  'volume-missing': {
    found: 'an `available` row whose volume is not on the backend',
    done: 'the row becomes `error`, unless it is attached; it becomes `available` again when the volume is back',
    does: 'repairs',
    grace: true,
  },
  'volume-without-row': {
    found: 'a volume of this installation without a row',
    done: 'never deleted; `--adopt` makes its row again from its marker',
    does: 'reports',
    grace: false,
  },
  'volume-of-deleted-row': {
    found: 'a volume whose row is `deleted`, or `error` and was never available',
    done: 'the volume is removed, unless somebody has it open or it was written after its row ended; where its run completed, the row becomes `available`',
    does: 'repairs',
    grace: true,
  },
  'entry-missing': {
    found: 'an entry whose image-volume is not on the backend',
    done: 'the entry is quarantined; what was cloned from a retired one is reported',
    does: 'repairs',
    grace: false,
  },
  'entry-changed': {
    found: 'an entry whose image-volume was changed or is no longer sealed',
    done: 'the entry is quarantined',
    does: 'repairs',
    grace: false,
  },
  'entry-against-policy': {
    found: 'an entry that was accepted under another image policy and is not allowed under the one in force',
    done: 'the entry is retired',
    does: 'repairs',
    grace: false,
  },
  'image-volume-without-row': {
    found: 'an image-volume of this installation without a row, or whose row is `gone`',
    done: 'removed, unless clones need it or the backend has any volume without a row',
    does: 'repairs',
    grace: true,
  },
  partial: {
    found: 'what an attempt has written and not published, and nobody writes any more',
    done: 'removed, unless it may be what is left of a volume that its row expects',
    does: 'repairs',
    grace: true,
  },
  foreign: {
    found: "an object of another installation, or nobody's",
    done: 'never touched',
    does: 'reports',
    grace: false,
  },
  'stuck-creating': {
    found: 'a `creating` row whose run is closed or unknown',
    done: 'what was made is removed, unless it was written after its run ended, the lease released, the row becomes `error`; where its run completed, `available`',
    does: 'repairs',
    grace: true,
  },
  'stuck-deleting': {
    found: 'a `deleting` row that no run deletes',
    done: '`DeleteVolume` is started again',
    does: 'repairs',
    grace: true,
  },
  'stuck-populating': {
    found: 'a `populating` entry whose population does not run',
    done: 'what was written is removed, the reservation given up',
    does: 'repairs',
    grace: true,
  },
  'stuck-entry-deletion': {
    found: 'an entry that is `deleting`, or `retired` and free, and that nobody deletes',
    done: 'the deletion is finished, unless the backend refuses it',
    does: 'repairs',
    grace: true,
  },
  'clone-count-wrong': {
    found: 'an entry whose count of clones is not the number of volumes that hold it',
    done: 'the count is corrected',
    does: 'repairs',
    grace: false,
  },
  'scratch-without-row': {
    found: 'a file in a scratch without a row',
    done: 'removed',
    does: 'repairs',
    grace: true,
  },
  'scratch-row-without-file': {
    found: 'a row of a scratch without its file',
    done: 'the row is forgotten',
    does: 'repairs',
    grace: true,
  },
  'scratch-unused': {
    found: 'a file in a scratch whose users have all ended',
    done: 'removed',
    does: 'repairs',
    grace: true,
  },
  'scratch-of-lost-host': {
    found: 'rows of a scratch whose host does not answer',
    done: 'nothing: the host may come back',
    does: 'reports',
    grace: false,
  },
  'digest-mismatch': {
    found: 'a sealed image-volume whose bytes do not have their digest',
    done: 'the entry is quarantined',
    does: 'repairs',
    grace: false,
  },
};
