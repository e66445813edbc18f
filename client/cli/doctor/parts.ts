import { execFile } from 'node:child_process';
import { access, constants } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { z } from 'zod';
import { formatBytes } from '../../../workflows/contract/bytes';
import type { ResolvedBackend } from '../../config/load';
import { packageRoot } from '../../config/package-root';
import type { ImageVolumeCache } from '../../connection';
import type { BackendStatus } from '../../records';
import { formatShare } from '../output/format';
import { fault, runCheck, ok, skipped, warning, type DoctorFinding } from './check';

const run = promisify(execFile);
const TOOL_TIMEOUT_MS = 5000;

export function checkConfiguration({ settings }: ImageVolumeCache): DoctorFinding {
  const { path, sources, config } = settings.loaded;
  const overridden = [...new Set(Object.values(sources))];
  const from = overridden.length === 0 ? '' : `, with ${overridden.join(', ')} over it`;
  return ok('configuration', `${path}${from}; backends ${Object.keys(config.backends).join(', ')}`);
}

export async function checkDatabase(cache: ImageVolumeCache): Promise<DoctorFinding[]> {
  const isConfigured = cache.settings.loaded.config.database.url !== 'embedded';
  const remedy = isConfigured
    ? 'is database.url (DATABASE_URL) the right one, and does its server run? A worker migrates the database when it starts'
    : 'start the stack with `ivc up`, or set DATABASE_URL and start a worker, which migrates it';
  return await runCheck('database', remedy, async () => {
    const { isOwnVersion } = await (await cache.inventory()).ping();
    return isOwnVersion
      ? ok('database', 'reached, migrated')
      : warning(
          'database',
          'reached; a newer version than this program has migrated it',
          'install the version that its workers have',
        );
  });
}

export async function checkImages(cache: ImageVolumeCache): Promise<DoctorFinding[]> {
  return await runCheck(
    'image service',
    cache.settings.identity === undefined
      ? 'start the stack with `ivc up`, or set OS_IMAGE_ENDPOINT_OVERRIDE; one that answers 401 wants an identity (OS_CLOUD)'
      : 'see identity; may this account read images there?',
    async () => {
      const images = await cache.images();
      await images.listImages({ limit: 1 });
      return ok('image service', images.endpoint);
    },
  );
}

/** A worker needs qemu-img; this host most likely runs one. */
export async function checkTools(): Promise<DoctorFinding[]> {
  const remedy = 'apt-get install qemu-utils (or your distribution’s package with qemu-img)';
  return await runCheck('qemu-img', remedy, async () => {
    const { stdout } = await run('qemu-img', ['--version'], { timeout: TOOL_TIMEOUT_MS });
    return ok('qemu-img', /version (\S+)/.exec(stdout)?.[1] ?? 'version unknown');
  });
}

/** The configured backends against what workers have registered, and the space that is left. */
export async function checkBackends(cache: ImageVolumeCache): Promise<DoctorFinding[]> {
  const configured = Object.entries(cache.settings.loaded.config.backends);
  try {
    const registered = await (await cache.inventory()).listBackends();
    const found = configured.map(async ([name, settings]) => {
      const status = registered.find(({ backend }) => backend === name);
      return status === undefined ? neverSeen(name) : await checkBackend(cache, status, settings);
    });
    return await Promise.all(found);
  } catch {
    return configured.map(([name]) => skipped(`backend ${name}`, 'the database is not reachable'));
  }
}

function neverSeen(name: string): DoctorFinding {
  return fault(
    `backend ${name}`,
    'configured, but no worker has ever registered it',
    'ivc worker --roles backend,host, or `ivc up`',
  );
}

/** A share of free space that deserves a warning, whatever the watermarks are. */
const LOW_SPACE = 0.05;

async function checkBackend(
  cache: ImageVolumeCache,
  { backend, driver, space, clones, imageStore }: BackendStatus,
  settings: ResolvedBackend,
): Promise<DoctorFinding> {
  const check = `backend ${backend}`;
  if (space === null) return warning(check, `${driver}, its free space is unknown`, 'restart its worker');
  const share = space.freeBytes / space.totalBytes;
  const found = `${driver}, ${formatBytes(space.freeBytes)} of ${formatBytes(space.totalBytes)} free`;
  if (share < LOW_SPACE) return warning(check, `${found}: only ${formatShare(share)}`, 'delete volumes, or add space');
  if (settings.driver === 'rbd' && clones.reason !== null)
    return warning(
      check,
      `${found}; a hit is several times slower: ${clones.reason}`,
      'apt-get install librbd1 librados2',
    );
  if (settings.driver !== 'file')
    return ok(check, imageStore === null ? found : `${found}; ${await describeImageStore(cache, imageStore)}`);
  const { directory } = settings;
  if (!(await isAccessible(directory))) return ok(check, `${found}; its directory is not on this host`);
  if (await isAccessible(join(directory, 'backend.json'))) return ok(check, found);
  return fault(
    check,
    `${directory} has no backend.json, which a worker wrote there: it is not the directory that was registered`,
    'mount its file system; the workers wait for it',
  );
}

/** How raw images come to a backend whose worker clones them where it can: a store may be right, and the service not show it. */
async function describeImageStore(
  cache: ImageVolumeCache,
  { name, reason }: NonNullable<BackendStatus['imageStore']>,
): Promise<string> {
  if (reason !== null) return `raw images are downloaded: ${reason}`;
  try {
    const images = await cache.images();
    const { images: active } = await images.listImages({ limit: IMAGES_LOOKED_AT, status: 'active' });
    const raw = active.find(({ diskFormat }) => diskFormat === 'raw');
    if (raw !== undefined && !(await images.showsLocations(raw.id)))
      return 'raw images are downloaded: the image service does not show where they are (show_multiple_locations, show_image_direct_url)';
  } catch {
    // The image service's own check tells what is wrong with it.
  }
  return `raw images of ${name} are cloned`;
}
const IMAGES_LOOKED_AT = 100;

async function isAccessible(path: string): Promise<boolean> {
  try {
    await access(path, constants.R_OK);
    return true;
  } catch {
    return false;
  }
}

/** It tries each way of confinement, strongest first. */
const PROGRAM_TIMEOUT_MS = 30_000;

const answerSchema = z.object({ holds: z.array(z.string()), missing: z.array(z.string()), summary: z.string() });

const REMEDY = `a worker of this user on this host runs qemu-img like this. For full confinement, run the worker as root (qemu-img then runs as tools.user), or allow user
namespaces for every user (sysctl kernel.unprivileged_userns_clone=1, if the kernel has that key); apt-get install util-linux perl-base`;

/**
 * How qemu-img is confined on this host, tried by the worker's own code: started by its path, because the client loads
 * nothing of it.
 */
export async function checkConfinement({ settings }: ImageVolumeCache): Promise<DoctorFinding[]> {
  const check = 'confinement of qemu-img';
  return await runCheck(check, 'npm run build', async () => {
    const program = join(packageRoot(), 'dist/worker/describe-confinement.js');
    const args = [program, '--config', settings.loaded.path, '--data', settings.dataDirectory];
    const { stdout } = await run(process.execPath, args, { timeout: PROGRAM_TIMEOUT_MS });
    const { holds, missing, summary } = answerSchema.parse(JSON.parse(stdout));
    return missing.length === 0 ? ok(check, holds.join(', ')) : warning(check, summary, REMEDY);
  });
}
