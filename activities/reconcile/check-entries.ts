import { listEntries, quarantineEntry } from '../../db/entries/entries';
import { recordEntryEvent } from '../../db/entries/entry-events';
import type { EntryRow } from '../../db/types';
import type { ParentDescription } from '../backends/backend';
import { deleteEntry } from '../kit/delete-entry';
import { report, settle, type Repaired } from './repair';
import type { ReconcileRun } from './run';

const PAGE_ROWS = 200;

/** Looks at the image-volume of every entry that takes clones, or whose clones need it. */
export async function checkEntries(run: ReconcileRun): Promise<void> {
  for (const state of ['ready', 'retired'] as const) {
    for await (const entry of entriesIn(run, state)) {
      const parent = await run.backend.describeParent(entry.imageVolume);
      if (parent.kind === 'sealed') continue;
      if (state === 'ready') await settleUnusable(run, entry, parent);
      else if (entry.clones > 0) reportHeld(run, entry, parent);
    }
  }
}

async function settleUnusable(run: ReconcileRun, entry: EntryRow, parent: Unusable): Promise<void> {
  await settle(run, { finding: findingOf(entry, parent), repair: async () => await quarantine(run, entry, parent) });
}

type Unusable = Exclude<ParentDescription, { kind: 'sealed' }>;

function findingOf({ imageVolume, realBytes }: EntryRow, parent: Unusable) {
  const kind = parent.kind === 'absent' ? 'entry-missing' : 'entry-changed';
  return {
    kind,
    object: imageVolume,
    found: `image-volume ${imageVolume}: ${describe(parent)}`,
    bytes: realBytes,
  } as const;
}

function describe(parent: Unusable): string {
  return parent.kind === 'changed' ? parent.found : parent.kind;
}

/** An eviction that was faster has taken the entry from `ready` before its image-volume went: then nothing was wrong. */
async function quarantine(run: ReconcileRun, { id, backend }: EntryRow, parent: Unusable): Promise<Repaired> {
  const { deps, workflowId } = run;
  const quarantined = await quarantineEntry(deps.database, { entryId: id, found: describe(parent), workflowId });
  if (quarantined.kind === 'not-ready') return 'unfounded';
  deps.metrics.quarantined({ backend });
  const detail = `the reconciler found its image-volume ${describe(parent)}`;
  await recordEntryEvent(deps.database, { entryId: id, kind: 'repaired', detail, workflowId });
  await deleteEntry(deps, run.backend, { entryId: id, workflowId });
  return 'repaired';
}

/** Nothing makes it whole again: its clones are told about. */
function reportHeld(run: ReconcileRun, entry: EntryRow, parent: Unusable): void {
  const finding = findingOf(entry, parent);
  report(run, { ...finding, found: `${finding.found}; ${entry.clones} volumes were cloned from it` });
}

async function* entriesIn(
  { deps, backend, collector }: ReconcileRun,
  state: 'ready' | 'retired',
): AsyncIterable<EntryRow> {
  let afterId: EntryRow['id'] | undefined;
  for (;;) {
    const page = await listEntries(deps.database, { backend: backend.name, state, limit: PAGE_ROWS, afterId });
    collector.looked(page.length);
    for (const entry of page) {
      collector.at(`looking at ${state} image-volumes`);
      yield entry;
    }
    afterId = page.at(-1)?.id;
    if (page.length < PAGE_ROWS) return;
  }
}
