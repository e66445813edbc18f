import type { Command } from 'commander';
import { registerSnapshotCreate } from '../commands/snapshot-create';
import { registerSnapshotDelete } from '../commands/snapshot-delete';
import { registerSnapshotList } from '../commands/snapshot-list';
import { registerSnapshotShare } from '../commands/snapshot-share';
import { registerSnapshotShow } from '../commands/snapshot-show';
import { registerSnapshotUnshare } from '../commands/snapshot-unshare';

export function registerSnapshotVerbs(snapshot: Command): void {
  registerSnapshotCreate(snapshot);
  registerSnapshotList(snapshot);
  registerSnapshotShow(snapshot);
  registerSnapshotShare(snapshot);
  registerSnapshotUnshare(snapshot);
  registerSnapshotDelete(snapshot);
}
