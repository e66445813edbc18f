import { SOURCE, completeVolume } from './rows';
import { randomUUID } from 'node:crypto';
import { chooseForReservation } from '../../../activities/eviction/choose-evictions';
import type { Database } from '../../../db/client';
import { listEntries } from '../../../db/entries/entries';
import { summarizeDecisions } from '../../../db/report/decisions';
import { listEvents } from '../../../db/events';
import { deleteExpired } from '../../../db/retention';
import { readSums } from '../../../db/entries/entries';
import { forgetGone } from '../../../db/evictions/evictor';
import { readBackendGauges, readEntryGauges, readVolumeGauges } from '../../../db/report/gauges';
import { markForReservation } from '../../../db/evictions/victims';
import { markDeleting, markDeleted } from '../../../db/volumes';
import { selectVolumes } from '../../../db/volume-lists';
import { acquireEntry } from '../../../db/acquire';
import type { BackendName, EntryId, ImageId, ProjectId, VolumeId } from '../../../workflows/contract/ids';
import { GiB } from '../../../workflows/contract/bytes';
import { filledKey, type Filling } from './fill-inventory';
import { abandonReservation, insertPopulatingEntry } from '../../../db/entries/reservations';
import { insertVolume, markFailed } from '../../../db/creates';

/** One thing that is done to a filled inventory over and over: `prepare` and `undo` are not what is measured. */
export interface InventoryWork {
  name: string;
  prepare?(n: number): Promise<unknown>;
  run(n: number): Promise<unknown>;
  undo?(n: number): Promise<unknown>;
  /** Whether its rows come in the order of an index, so that no page needs all of them. */
  ordered?: boolean;
  /** Rather than the usual number of times. */
  times?: number;
}

const PAGE = 100;
const PERIOD_MS = 86_400_000;
const KEPT = { events: 400 * PERIOD_MS, decisions: 400 * PERIOD_MS, goneRows: 400 * PERIOD_MS };
const FORGOTTEN_VOLUMES = 2000;
const LIST_PROJECT = 'project-7' as ProjectId;

/** Works that must not take longer because there is more: each through the function that the product calls. */
export function inventoryWorks(database: Database, filling: Filling): InventoryWork[] {
  return [...creating(database, filling), ...making(database, filling), ...listing(database, filling)];
}

function creating(database: Database, { backend, entries }: Filling): InventoryWork[] {
  const volumes = new Map<string, VolumeId>();
  const keyOf = (n: number) => filledKey(1 + ((n * 7919) % entries));
  const admit = async (n: number, purpose: string): Promise<void> => {
    const volumeId = randomUUID() as VolumeId;
    volumes.set(`${purpose} ${n}`, volumeId);
    await insertVolume(database, {
      volumeId,
      projectId: LIST_PROJECT,
      name: 'scale',
      backend,
      imageId: 'scale' as ImageId,
      shortKey: keyOf(n).short,
      request: {},
      sizeBytes: 10 * GiB,
      imageMetadata: {},
      metadata: {},
      workflowId: `volume/${volumeId}`,
      runId: 'run',
    });
  };
  const idOf = (n: number, purpose: string) => volumes.get(`${purpose} ${n}`) as VolumeId;
  const acquire = async (n: number, purpose: string): Promise<void> => {
    const acquired = await acquireEntry(database, { volumeId: idOf(n, purpose), runId: 'run', backend, key: keyOf(n) });
    if (acquired.kind !== 'leased') throw new Error(`the acquire is ${acquired.kind}`);
  };
  const giveUp = (n: number, purpose: string) =>
    markFailed(database, {
      volumeId: idOf(n, purpose),
      runId: 'run',
      to: 'deleted',
      decision: { reason: 'cancelled' },
    });
  return [
    { name: 'admit', run: (n) => admit(n, 'admit'), undo: (n) => giveUp(n, 'admit') },
    {
      name: 'acquire',
      prepare: (n) => admit(n, 'acquire'),
      run: (n) => acquire(n, 'acquire'),
      undo: (n) => giveUp(n, 'acquire'),
    },
    {
      name: 'complete',
      prepare: async (n) => {
        await admit(n, 'complete');
        await acquire(n, 'complete');
      },
      run: (n) =>
        completeVolume(database, {
          volumeId: idOf(n, 'complete'),
          runId: 'run',
          sizeBytes: 10 * GiB,
          connection: { driver: 'file', path: '/volumes/v.qcow2', format: 'qcow2' },
          outcome: 'hit',
          decision: { reason: 'the image was cached' },
        }),
      undo: async (n) => {
        await markDeleting(database, { volumeId: idOf(n, 'complete'), scope: 'all projects' });
        await markDeleted(database, { volumeId: idOf(n, 'complete'), source: SOURCE });
      },
    },
  ];
}

function making(database: Database, { backend, entries }: Filling): InventoryWork[] {
  const reserved = new Map<number, EntryId>();
  const workflowId = 'populate/scale';
  return [
    {
      name: 'reserve',
      run: async (n) => {
        const key = filledKey(entries + 1 + n);
        const outcome = await insertPopulatingEntry(database, {
          backend,
          key,
          bytes: GiB,
          flight: 1,
          workflowId,
          policyVersion: 'p',
        });
        if (outcome.kind !== 'reserved') throw new Error(`the reservation is ${outcome.kind}`);
        reserved.set(n, outcome.entry.id);
      },
      undo: (n) => abandonReservation(database, { entryId: reserved.get(n) as EntryId }),
    },
    {
      name: 'choose victims',
      times: 40,
      prepare: () => database.sql`update backends set max_count = ${entries} where name = ${backend}`,
      run: async () => {
        const choose = chooseForReservation(GiB);
        const taken = await markForReservation(database, { backend, bytes: GiB, workflowId, choose });
        if (taken.kind !== 'victims') throw new Error('no victim is found');
      },
      undo: async () => {
        await database.sql`update cache_entries set state = 'ready', reason = null, reason_detail = null, reserved_for = null, retired_at = null where backend = ${backend} and state in ('deleting', 'retired')`;
        await database.sql`update backends set max_count = ${2 * entries} where name = ${backend}`;
      },
    },
    { name: 'sums of a cache', run: () => readSums(database, { backend }) },
    forgetting(database, backend),
  ];
}

/** An entry that many volumes have named, as a popular image leaves it. */
function forgetting(database: Database, backend: BackendName): InventoryWork {
  return {
    name: `forget an entry that ${FORGOTTEN_VOLUMES} volumes named`,
    times: 20,
    prepare: async (n) => {
      const key = filledKey(-n);
      const [entry] =
        await database.sql`insert into cache_entries (id, backend, short_key, container_format, disk_format,
          hash_algorithm, hash_value, generation, state, counted, image_volume, real_bytes, gone_at)
        values (gen_random_uuid(), ${backend}, ${key.short}, 'bare', 'raw', 'sha512', ${key.hashValue}, 1, 'gone', false, 'forgotten', 0,
          now() - interval '1 day') returning id`;
      await database.sql`insert into volumes (id, project_id, backend, image_id, short_key, request, size_bytes, state, entry_id, workflow_id,
          run_id, image_metadata, metadata)
        select gen_random_uuid(), 'forgotten', ${backend}, 'scale', ${key.short}, '{}', 512, 'deleted', ${entry?.['id']}, 'volume/' || n, 'run',
          '{}', '{}' from generate_series(1, ${FORGOTTEN_VOLUMES}::int) n`;
    },
    run: () => forgetGone(database, { backend, keptMs: PERIOD_MS / 2, limit: 1, mostVolumes: 2 * FORGOTTEN_VOLUMES }),
    undo: () => database.sql`delete from volumes where project_id = 'forgotten'`,
  };
}

function listing(database: Database, { backend, volumes, entries }: Filling): InventoryWork[] {
  let middleVolume: VolumeId | undefined;
  let middleEntry: EntryId | undefined;
  const findMiddle = async (): Promise<void> => {
    if (middleVolume !== undefined) return;
    const [volume] = await database.sql<
      { id: VolumeId }[]
    >`select md5('volume' || ${Math.floor(volumes / 2) + 1}::text)::uuid as id`;
    const [entry] = await database.sql<
      { id: EntryId }[]
    >`select md5('entry' || ${Math.floor(entries / 2) + 1}::text)::uuid as id`;
    [middleVolume, middleEntry] = [volume?.id, entry?.id];
  };
  const all = { scope: 'all projects' } as const;
  const pages: [string, Omit<Parameters<typeof selectVolumes>[1], 'limit'>][] = [
    ['list volumes', all],
    ['list volumes of a backend', { ...all, backend }],
    ['list volumes of a project', { scope: { projectId: LIST_PROJECT } }],
    ['list volumes in error', { ...all, state: 'error' }],
  ];
  return [
    ...pages.map(([name, filter]) => ({
      name,
      ordered: true,
      run: () => selectVolumes(database, { ...filter, limit: PAGE }),
    })),
    {
      name: 'list volumes, a page in the middle',
      ordered: true,
      prepare: findMiddle,
      run: () => selectVolumes(database, { ...all, limit: PAGE, afterId: middleVolume }),
    },
    { name: 'list entries', ordered: true, run: () => listEntries(database, { backend, limit: PAGE }) },
    {
      name: 'list entries, a page in the middle',
      ordered: true,
      prepare: findMiddle,
      run: () => listEntries(database, { backend, limit: PAGE, afterId: middleEntry }),
    },
    { name: 'events, the first page', run: () => listEvents(database, { scope: 'all projects', limit: PAGE }) },
    {
      name: 'events of a volume',
      prepare: findMiddle,
      run: () => listEvents(database, { scope: 'all projects', limit: PAGE, volumeId: middleVolume }),
    },
    {
      name: 'events of an image',
      run: () => listEvents(database, { scope: 'all projects', limit: PAGE, imageId: 'scale' as ImageId }),
    },
    {
      name: 'events of a project',
      run: () => listEvents(database, { scope: { projectId: LIST_PROJECT }, limit: PAGE }),
    },
    { name: 'delete what is not kept', run: () => deleteExpired(database, { kept: KEPT, mostRows: PAGE }) },
    { name: 'hit rate of a day', run: () => summarizeDecisions(database, { backend, withinMs: PERIOD_MS }) },
    { name: 'gauges of backends', run: () => readBackendGauges(database) },
    { name: 'gauges of entries', times: 40, run: () => readEntryGauges(database) },
    { name: 'gauges of volumes', times: 40, run: () => readVolumeGauges(database) },
  ];
}
