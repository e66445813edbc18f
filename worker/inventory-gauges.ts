import { Runtime } from '@temporalio/worker';
import type { Database } from '../db/client';
import {
  readBackendGauges,
  readEntryGauges,
  readVolumeGauges,
  type BackendGauges,
  type EntryGauges,
} from '../db/report/gauges';
import { readScratchBytes } from '../db/scratch-files';
import type { HostId } from '../workflows/contract/ids';
import type { Logger } from '../client/logger';

interface GaugeSources {
  /** A connection of their own: statements for them are none of a create. */
  database: Database;
  intervalMs: number;
  logger: Logger;
  /** Whether this worker tells about the inventory; every control worker tells the same. */
  inventory: boolean;
  scratch?: { hostId: HostId; maxBytes: number };
}

/**
 * Reads what *is* from the inventory, now and every `intervalMs`, unless the reading before still runs. One that fails
 * is logged, and the gauges stay as they were. @returns its end.
 */
export function startInventoryGauges({ intervalMs, logger, ...sources }: GaugeSources): { close(): Promise<void> } {
  const gauges = createGauges();
  let reading: Promise<void> | undefined;
  let closed = false;
  const read = async (): Promise<void> => {
    try {
      await readAll(gauges, sources);
    } catch (error) {
      if (!closed) logger.warn({ error: String(error) }, 'the gauges of the inventory could not be read');
    } finally {
      reading = undefined;
    }
  };
  const readUnlessRunning = (): void => void (reading ??= read());
  readUnlessRunning();
  const timer = setInterval(readUnlessRunning, intervalMs);
  return {
    close: async () => {
      closed = true;
      clearInterval(timer);
      // Ends a reading that a silent database holds.
      await sources.database.close();
      await reading;
    },
  };
}

type Gauges = ReturnType<typeof createGauges>;

function createGauges() {
  const { metricMeter } = Runtime.instance();
  const gauge = (name: string, description: string) => metricMeter.createGauge(name, 'int', '', description);
  return {
    entries: gauge('ivc_entries', 'Cache entries by state'),
    cachedBytes: gauge('ivc_cached_bytes', 'Bytes of entries that count against the limit, reserved ones included'),
    reclaimableBytes: gauge('ivc_reclaimable_bytes', 'Bytes that deleting the counted entries would free'),
    pinnedBytes: gauge('ivc_pinned_bytes', 'Bytes of retired parents that clones hold'),
    limitBytes: gauge('ivc_cache_limit_bytes', 'Most bytes of the cache'),
    limitEntries: gauge('ivc_cache_limit_entries', 'Most entries of the cache'),
    totalBytes: gauge('ivc_backend_total_bytes', 'Space of the backend'),
    freeBytes: gauge('ivc_backend_free_bytes', 'Free space of the backend, as a worker saw it last'),
    lowWaterBytes: gauge('ivc_backend_low_water_bytes', 'Free space below which a sweep evicts entries'),
    waiting: gauge('ivc_waiting_volumes', 'Creates that wait for a population'),
    running: gauge('ivc_running_populations', 'Running populations'),
    volumes: gauge('ivc_volumes', 'Volumes by state; an estimate above ten thousand'),
    scratchBytes: gauge('ivc_scratch_bytes', 'Bytes that a scratch has reserved or holds'),
    scratchLimit: gauge('ivc_scratch_limit_bytes', 'Most bytes of a scratch'),
    readAt: metricMeter.createGauge(
      'ivc_inventory_read_timestamp_seconds',
      'float',
      '',
      'When the gauges were read last',
    ),
  };
}

async function readAll(
  gauges: Gauges,
  { database, inventory, scratch }: Pick<GaugeSources, 'database' | 'inventory' | 'scratch'>,
): Promise<void> {
  if (scratch) {
    gauges.scratchBytes.set(await readScratchBytes(database, scratch), { host: scratch.hostId });
    gauges.scratchLimit.set(scratch.maxBytes, { host: scratch.hostId });
  }
  if (!inventory) return;
  const backends = await readBackendGauges(database);
  const entries = await readEntryGauges(database);
  for (const backend of backends) {
    setBackend(gauges, backend);
    setEntries(
      gauges,
      backend,
      entries.filter((row) => row.backend === backend.backend),
    );
  }
  for (const [state, volumes] of Object.entries(await readVolumeGauges(database)))
    gauges.volumes.set(volumes, { state });
  gauges.readAt.set(Date.now() / 1000);
}

function setBackend(
  gauges: Gauges,
  { backend, maxBytes, maxCount, totalBytes, freeBytes, lowWaterBytes, waiting, running }: BackendGauges,
): void {
  gauges.limitBytes.set(maxBytes, { backend });
  gauges.limitEntries.set(maxCount, { backend });
  gauges.waiting.set(waiting, { backend });
  gauges.running.set(running, { backend });
  if (totalBytes !== null) gauges.totalBytes.set(totalBytes, { backend });
  if (freeBytes !== null) gauges.freeBytes.set(freeBytes, { backend });
  if (lowWaterBytes !== null) gauges.lowWaterBytes.set(lowWaterBytes, { backend });
}

const states = ['populating', 'ready', 'retired', 'deleting'] as const;

function setEntries(gauges: Gauges, { backend }: BackendGauges, rows: EntryGauges[]): void {
  const total = (of: EntryGauges[], field: 'entries' | 'bytes' | 'reclaimableBytes') =>
    of.reduce((sum, row) => sum + row[field], 0);
  for (const state of states) {
    const inState = rows.filter((row) => row.state === state);
    gauges.entries.set(total(inState, 'entries'), { backend, state });
  }
  const counted = rows.filter((row) => row.counted);
  const uncounted = rows.filter((row) => !row.counted);
  gauges.cachedBytes.set(total(counted, 'bytes'), { backend });
  gauges.reclaimableBytes.set(total(counted, 'reclaimableBytes'), { backend });
  gauges.pinnedBytes.set(total(uncounted, 'bytes'), { backend });
}
