import type { FastifyInstance } from 'fastify';
import type { ApiContext } from '../api-context';
import { isAdmin } from '../caller';
import type { Query } from '../query';
import { readQuotaSet } from './quota-sets';

/** From this minor version on an administrator asks for another project's. */
const OF_OTHERS_SINCE = 39;

const names = [
  ['volumes', 'maxTotalVolumes', 'totalVolumesUsed'],
  ['snapshots', 'maxTotalSnapshots', 'totalSnapshotsUsed'],
  ['gigabytes', 'maxTotalVolumeGigabytes', 'totalGigabytesUsed'],
  ['backups', 'maxTotalBackups', 'totalBackupsUsed'],
  ['backup_gigabytes', 'maxTotalBackupGigabytes', 'totalBackupGigabytesUsed'],
] as const;

/** `limits`: the limits of a project and its usage, in other words than its quotas. */
export function registerLimits(app: FastifyInstance, context: ApiContext): void {
  app.get<{ Querystring: Query }>('/limits', async ({ query, caller, minor }) => {
    const asked = minor >= OF_OTHERS_SINCE && isAdmin(caller) ? (query['project_id'] ?? query['tenant_id']) : undefined;
    const quotas = await readQuotaSet(context, asked ?? caller.projectId);
    const absolute = names.flatMap(([name, most, used]) => {
      const { limit = -1, in_use: inUse = 0 } = quotas[name] ?? {};
      return [
        [most, limit],
        [used, inUse],
      ];
    });
    return { limits: { rate: [], absolute: Object.fromEntries(absolute) } };
  });
}
