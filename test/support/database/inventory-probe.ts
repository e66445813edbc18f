import type { Database } from '../../../db/client';
import { findEntry, listEntries, readSums } from '../../../db/entries/entries';
import { listEntryEvents } from '../../../db/entries/entry-events';
import { findFlight } from '../../../db/flights';
import { listDecisions } from '../../../db/report/decisions';
import { findVolume } from '../../../db/volumes';
import { selectVolumes } from '../../../db/volume-lists';
import type { EntryState } from '../../../db/schema';
import type { BackendName } from '../../../workflows/contract/ids';

const LIMIT = 10_000;
type EntryFilter = Omit<Parameters<typeof listEntries>[1], 'limit'>;

/** Questions of tests to an inventory about one of its backends. Ids may be plain text. */
export class InventoryProbe {
  constructor(
    private readonly database: Database,
    private readonly backend: BackendName,
  ) {}

  volume(volumeId: string) {
    return findVolume(this.database, { volumeId: volumeId as never, scope: 'all projects' });
  }

  volumes() {
    return selectVolumes(this.database, { scope: 'all projects', backend: this.backend, limit: LIMIT });
  }

  entry(entryId: string) {
    return findEntry(this.database, { entryId: entryId as never });
  }

  async stateOf(entryId: string): Promise<EntryState | undefined> {
    return (await this.entry(entryId))?.state;
  }

  /** All but those that are gone, unless the filter says `gone`. */
  entries(filter: EntryFilter = {}) {
    return listEntries(this.database, { backend: this.backend, ...filter, limit: LIMIT });
  }

  /** The newest first. */
  events(entryId: string) {
    return listEntryEvents(this.database, { entryIds: [entryId as never], limit: LIMIT });
  }

  /** Of one volume, or of all. The newest first. */
  decisions(volumeId?: string) {
    return listDecisions(this.database, { volumeId: volumeId as never, limit: LIMIT });
  }

  flight(shortKey: string) {
    return findFlight(this.database, { backend: this.backend, shortKey });
  }

  sums() {
    return readSums(this.database, { backend: this.backend });
  }
}
