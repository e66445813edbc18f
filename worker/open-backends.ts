import type { VolumeBackend } from '../activities/backends/backend';
import { createBackend } from '../activities/backends/registry';
import type { ResolvedConfig } from '../client/config/load';
import type { Database } from '../db/client';
import { countHoldings, findBackend, observeSpace, registerBackend } from '../db/backends';
import { ensureInstallation } from '../db/installation';
import { isFailure } from '../workflows/contract/failures';
import type { BackendName, InstallationId } from '../workflows/contract/ids';
import { plural } from '../workflows/contract/words';

interface OpenBackends {
  database: Database;
  /** See `KnownPlace.lostId`. */
  lostPlace: string | undefined;
}

/**
 * Opens every backend of the configuration and makes it known to the inventory.
 * @throws Error when a backend's place is not the one that the inventory expects, or another installation's.
 */
export async function openBackends(
  config: ResolvedConfig,
  { database, lostPlace }: OpenBackends,
): Promise<Map<BackendName, VolumeBackend>> {
  const installation = await ensureInstallation(database);
  const opened = new Map<BackendName, VolumeBackend>();
  for (const [key, settings] of Object.entries(config.backends)) {
    const name = key as BackendName;
    const before = (await findBackend(database, { name }))?.placeId ?? undefined;
    const known = { id: before, lostId: lostPlace, describeHoldings: () => describeHoldings(database, name) };
    const backend = await createBackend(settings, { name, installation, known }).catch((error: unknown) =>
      explainForeign(error, installation),
    );
    const { idleAge, ...limits } = settings.cache;
    await registerBackend(database, {
      name,
      driver: backend.driver,
      capabilities: backend.capabilities,
      place: { id: backend.placeId, before },
      limits: { ...limits, idleAgeMs: idleAge ?? null, cloneLimit: backend.capabilities.cloneLimit ?? null },
    });
    await observeSpace(database, { name, ...(await backend.space()) });
    opened.set(name, backend);
  }
  return opened;
}

async function describeHoldings(database: Database, name: BackendName): Promise<string | undefined> {
  const { volumes, imageVolumes } = await countHoldings(database, { name });
  if (volumes + imageVolumes === 0) return undefined;
  return `${plural(volumes, 'volume')} and ${plural(imageVolumes, 'image-volume')}`;
}

/** Another installation's place, or a database that is not the one that made it. */
function explainForeign(error: unknown, installation: InstallationId): never {
  if (!isFailure(error, 'ForeignObject')) throw error;
  throw new Error(
    `${error.message}. This database is the inventory of installation ${installation}: is database.url the right one? ` +
      'Otherwise give the backend a directory of its own. Only when the other installation’s database is lost for good, start once on an empty ' +
      'database with IVC_INSTALLATION set to the other’s id, then restore its rows: ivc reconcile --adopt',
    { cause: error },
  );
}
