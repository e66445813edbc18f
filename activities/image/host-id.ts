import { randomUUID } from 'node:crypto';
import { link, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { uuidPattern, type HostId } from '../../workflows/contract/ids';
import { acquireProcessLock } from '../process-lock';
import { hasCode } from '../../lib/errno';
import { writeFileAtomically } from '../../lib/files';

/** Ids that tell machines apart and outlive a boot. A container may have neither, and only root reads the second: an unknown one proves nothing. */
export interface Machine {
  machineId?: string;
  productUuid?: string;
}

const machineFiles: Record<keyof Machine, string> = {
  machineId: '/etc/machine-id',
  productUuid: '/sys/class/dmi/id/product_uuid',
};
const boundSchema = z.object({
  hostId: z.string(),
  machineId: z.string().optional(),
  productUuid: z.string().optional(),
});
type Bound = z.output<typeof boundSchema>;

const POLL_MS = 20;
const MAX_POLLS = 500;

/**
 * The host's id: made with the scratch and the same ever after, on the same machine. A scratch that was copied with its machine gets an id of its own:
 * two hosts with one id would take each other's work. Takes no lock but for that. @throws Error when the file holds something else.
 */
export async function readHostId(directory: string, machine?: Machine): Promise<HostId> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const found = machine ?? (await readMachine());
  const hostId = await ensureHostId(directory);
  const bound = await readBound(directory, hostId);
  if (bound !== undefined && isOther(bound, found)) return await renew(directory, found);
  await bind(directory, { ...bound, ...found, hostId });
  return hostId;
}

/** Of several that find it out at once one makes the new id, and the others read it. */
async function renew(directory: string, machine: Machine): Promise<HostId> {
  for (let poll = 0; poll < MAX_POLLS; poll += 1) {
    const lock = await acquireProcessLock(join(directory, 'host-id.lock'));
    if (lock.kind === 'held') {
      await delay(POLL_MS);
      continue;
    }
    try {
      const current = await ensureHostId(directory);
      const bound = await readBound(directory, current);
      if (bound === undefined || !isOther(bound, machine)) return current;
      const hostId = randomUUID() as HostId;
      // In this order: an id that nothing is known of is bound to the machine that reads it.
      writeFileAtomically(join(directory, 'host-id'), `${hostId}\n`);
      await bind(directory, { ...machine, hostId });
      return hostId;
    } finally {
      lock.release();
    }
  }
  throw new Error(`scratch.directory: ${directory}: another process has been changing its host id for long`);
}

async function ensureHostId(directory: string): Promise<HostId> {
  const path = join(directory, 'host-id');
  const candidate = join(directory, `host-id.${randomUUID()}`);
  await writeFile(candidate, `${randomUUID()}\n`, { mode: 0o600, flag: 'wx' });
  try {
    // Of several first workers one wins, and its id appears complete.
    await link(candidate, path).catch((error: unknown) => {
      if (!hasCode(error, 'EEXIST')) throw error;
    });
  } finally {
    await rm(candidate, { force: true });
  }
  const id = (await readFile(path, 'utf8')).trim();
  if (isHostId(id)) return id;
  throw new Error(`${path}: got ${id.slice(0, 80)}, allowed is a UUID`);
}

/** @returns the machine that the id was last used on; undefined for an id that was never bound to one. */
async function readBound(directory: string, hostId: HostId): Promise<Bound | undefined> {
  try {
    const bound = boundSchema.parse(JSON.parse(await readFile(join(directory, 'host-machine'), 'utf8')));
    return bound.hostId === hostId ? bound : undefined;
  } catch {
    return undefined;
  }
}

async function bind(directory: string, bound: Bound): Promise<void> {
  const text = JSON.stringify(bound);
  const path = join(directory, 'host-machine');
  if ((await readFile(path, 'utf8').catch(() => undefined)) !== text) writeFileAtomically(path, text);
}

/** The hypervisor's word counts before that of the system's image, which containers and careless clones share. */
function isOther(bound: Machine, found: Machine): boolean {
  if (bound.productUuid !== undefined && found.productUuid !== undefined)
    return bound.productUuid !== found.productUuid;
  return bound.machineId !== undefined && found.machineId !== undefined && bound.machineId !== found.machineId;
}

async function readMachine(): Promise<Machine> {
  const read = async (path: string): Promise<string | undefined> =>
    (await readFile(path, 'utf8').catch(() => '')).trim() || undefined;
  const [machineId, productUuid] = await Promise.all([read(machineFiles.machineId), read(machineFiles.productUuid)]);
  return { ...(machineId && { machineId }), ...(productUuid && { productUuid }) };
}

function isHostId(text: string): text is HostId {
  return uuidPattern.test(text);
}
