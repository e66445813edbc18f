import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { z } from 'zod';
import { packageRoot } from '../../config/package-root';
import type { ImageVolumeCache } from '../../connection';
import { look, ok, warning, type Finding } from './check';

const run = promisify(execFile);
/** It tries each way of confinement, strongest first. */
const PROGRAM_TIMEOUT_MS = 30_000;

const answerSchema = z.object({ holds: z.array(z.string()), missing: z.array(z.string()), summary: z.string() });

const REMEDY = `a worker on this host, as this user, would run qemu-img so. For all of it: run the worker as root (it then drops to tools.user), or let every user
make user namespaces (sysctl kernel.unprivileged_userns_clone=1, where there is such a key); apt-get install util-linux perl-base`;

/** How qemu-img is confined on this host, tried by the worker's own code: started by its path, because the client loads nothing of it. */
export async function checkConfinement({ settings }: ImageVolumeCache): Promise<Finding[]> {
  const check = 'confinement of qemu-img';
  return await look(check, 'npm run build', async () => {
    const program = join(packageRoot(), 'dist/worker/describe-confinement.js');
    const args = [program, '--config', settings.loaded.path, '--data', settings.dataDirectory];
    const { stdout } = await run(process.execPath, args, { timeout: PROGRAM_TIMEOUT_MS });
    const { holds, missing, summary } = answerSchema.parse(JSON.parse(stdout));
    return missing.length === 0 ? ok(check, holds.join(', ')) : warning(check, summary, REMEDY);
  });
}
