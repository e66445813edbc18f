import { temporal } from '@temporalio/proto';
import { searchAttributeNames } from '../../../workflows/contract/names';
import type { BackendName } from '../../../workflows/contract/ids';
import { describeRemedy } from '../../../workflows/contract/unserved';
import type { ImageVolumeCache } from '../../connection';
import { findPollers } from '../../pollers';
import { requestTemporal, fault, runCheck, ok, skipped, warning, type DoctorFinding } from './check';
import { checkStanding } from './standing';

const { INDEXED_VALUE_TYPE_KEYWORD } = temporal.api.enums.v1.IndexedValueType;

/** Server and namespace, search attributes, and the workers that poll the task queues of `backends`. */
export async function checkTemporal(cache: ImageVolumeCache, backends: string[]): Promise<DoctorFinding[]> {
  const { address, endpoints } = cache.settings;
  const isOurs = endpoints === undefined && cache.settings.loaded.config.temporal.address === 'embedded';
  const remedy = isOurs
    ? 'start the stack with `ivc up`, or set TEMPORAL_ADDRESS and TEMPORAL_NAMESPACE'
    : `is ${address} the right one, and does it run? It is temporal.address (TEMPORAL_ADDRESS), with temporal.namespace (TEMPORAL_NAMESPACE)`;
  const server = await runCheck('temporal', remedy, () => checkServer(cache));
  if (server.some(({ state }) => state === 'fault')) {
    return [
      ...server,
      skipped('inventory', 'Temporal is not reachable'),
      skipped('search attributes', 'Temporal is not reachable'),
      skipped('workers', 'Temporal is not reachable'),
      skipped('evictors and schedules', 'Temporal is not reachable'),
    ];
  }
  const attributes = await runCheck('search attributes', 'workers run without them', () =>
    checkSearchAttributes(cache),
  );
  const workers = await runCheck('workers', 'start one with `ivc worker`', () => checkPollers(cache, backends));
  const binding = await runCheck('inventory', 'start the stack with `ivc up`, or set DATABASE_URL', () =>
    checkBinding(cache),
  );
  return [...server, ...binding, ...attributes, ...workers, ...(await checkStanding(cache, backends))];
}

/** Whether the runs that the inventory waits for are in this namespace: a worker of another one refuses to start. */
async function checkBinding(cache: ImageVolumeCache): Promise<DoctorFinding> {
  const { namespace } = cache.settings;
  const held = await (await cache.inventory()).findNamespace();
  if (held === undefined) return warning('inventory', 'bound to no Temporal namespace yet', 'start a worker');
  const { namespaceInfo } = await requestTemporal(cache, (client) =>
    client.workflowService.describeNamespace({ namespace }),
  );
  const id = namespaceInfo?.id || undefined;
  const isSame = held.id === undefined || id === undefined ? held.name === namespace : held.id === id;
  const name = ({ name: of, id: own }: { name: string; id: string | undefined }): string =>
    own === undefined ? of : `${of} (${own})`;
  if (isSame) return ok('inventory', `its runs are in namespace ${name(held)}`);
  return fault(
    'inventory',
    `its runs are in namespace ${name(held)}, not in ${name({ name: namespace, id })}`,
    'set TEMPORAL_ADDRESS and TEMPORAL_NAMESPACE to that one\n' +
      `or, if it was moved on purpose, stop all workers there and start one here: IVC_MOVED_NAMESPACE=${held.id ?? held.name} ivc worker`,
  );
}

async function checkServer(cache: ImageVolumeCache): Promise<DoctorFinding> {
  const { namespace, address } = cache.settings;
  await requestTemporal(cache, (client) => client.workflowService.describeNamespace({ namespace }));
  return ok('temporal', `${address}, namespace ${namespace}`);
}

async function checkSearchAttributes(cache: ImageVolumeCache): Promise<DoctorFinding> {
  const { address, namespace } = cache.settings;
  const known = await requestTemporal(cache, async ({ connection }) => {
    if (!('operatorService' in connection)) return undefined;
    return (await connection.operatorService.listSearchAttributes({ namespace })).customAttributes ?? {};
  });
  const absent = searchAttributeNames.filter((name) => known?.[name] !== INDEXED_VALUE_TYPE_KEYWORD);
  if (absent.length === 0) return ok('search attributes', searchAttributeNames.join(', '));
  const flags = absent.map((name) => `--name ${name} --type Keyword`).join(' ');
  const line = `temporal operator search-attribute create --address ${address} --namespace ${namespace} ${flags}`;
  return warning(
    'search attributes',
    `not registered: ${absent.join(', ')}; runs work without them`,
    `${line}\nthen restart the workers`,
  );
}

async function checkPollers(cache: ImageVolumeCache, backends: string[]): Promise<DoctorFinding[]> {
  const { control, backend } = cache.queues;
  return await Promise.all([
    checkQueue(cache, { taskQueue: control, of: 'workflows' }),
    ...backends.map((name) => checkQueue(cache, { taskQueue: backend(name as BackendName), of: 'activities' })),
  ]);
}

async function checkQueue(
  cache: ImageVolumeCache,
  queue: { taskQueue: string; of: 'workflows' | 'activities' },
): Promise<DoctorFinding> {
  const { taskQueue } = queue;
  const identities = await requestTemporal(cache, (client) => findPollers(client, queue));
  if (identities.length > 0) return ok(`queue ${taskQueue}`, `polled by ${identities.join(', ')}`);
  const remedy = `${describeRemedy(taskQueue)}, or \`ivc up\``;
  return fault(`queue ${taskQueue}`, 'no worker polls it: runs wait for one', remedy);
}
