import type { BackendName } from '../../../workflows/contract/ids';
import { createMigratedDatabase } from '../../support/database/database';
import { fillDatabase, type Filling } from '../../support/database/fill-inventory';
import { startApi, type TestApi } from '../../support/stack/api';
import { startBenchStack, type BenchServers } from '../bench-stack';
import { percentile, rounded } from '../result';

const FILLING: Filling = { backend: 'lists' as BackendName, entries: 10_000, volumes: 1_000_000 };
const PROJECT = 'project-7';
const LIMIT = 1000;
const TIMES = 40;
const WARM_UP = 5;

/** A page of a long list through the block-storage API, beside the same rows read bare and written as JSON. */
export interface ListMeasure {
  measure: 'list';
  request: string;
  rows: number;
  ofRows: number;
  n: number;
  p50Ms: number;
  p95Ms: number;
  floorP50Ms: number;
}

export async function measureLists(servers: BenchServers): Promise<ListMeasure[]> {
  const made = await createMigratedDatabase();
  const { url, database } = made;
  await fillDatabase(url, FILLING);
  const stack = await startBenchStack(servers, { databaseUrl: url, workers: [] });
  const bare = async (where: 'of one project' | 'of all'): Promise<number> => {
    const { sql } = database;
    const startedAtMs = performance.now();
    const rows = await sql`
      select * from volumes where state <> 'deleted' ${where === 'of all' ? sql`` : sql`and project_id = ${PROJECT}`}
      order by created_at desc, id desc limit ${LIMIT}`;
    JSON.stringify(rows);
    return performance.now() - startedAtMs;
  };
  try {
    const api = await startApi(stack, {});
    try {
      const path = `/v3/${PROJECT}/volumes`;
      const middle = await idAt(api, `GET ${path}?limit=${LIMIT}`);
      const measures: ListMeasure[] = [];
      for (const [request, where] of [
        [`GET ${path}?limit=${LIMIT}`, 'of one project'],
        [`GET ${path}/detail?limit=${LIMIT}`, 'of one project'],
        [`GET ${path}/detail?limit=${LIMIT}&marker=${middle}`, 'of one project'],
        [`GET ${path}/detail?limit=${LIMIT}&all_tenants=1`, 'of all'],
      ] as const)
        measures.push(await measureOne(api, request, () => bare(where)));
      return measures;
    } finally {
      await api.stop();
    }
  } finally {
    await stack.stop();
    await made.drop();
  }
}

async function idAt(api: TestApi, request: string): Promise<string> {
  const { volumes } = (await api.call(request)).body as { volumes: { id: string }[] };
  return volumes[Math.floor(volumes.length / 2)]?.id ?? '';
}

/** Turn by turn, so that what the machine does meanwhile strikes both. */
async function measureOne(api: TestApi, request: string, bare: () => Promise<number>): Promise<ListMeasure> {
  const [eachMs, floorMs]: [number[], number[]] = [[], []];
  let rows = 0;
  for (let time = 0; time < WARM_UP + TIMES; time += 1) {
    const startedAtMs = performance.now();
    const { status, body } = await api.call(request);
    const tookMs = performance.now() - startedAtMs;
    if (status !== 200) throw new Error(`${request} was answered with ${status}: ${JSON.stringify(body)}`);
    rows = (body as { volumes: unknown[] }).volumes.length;
    const tookBareMs = await bare();
    if (time < WARM_UP) continue;
    eachMs.push(tookMs);
    floorMs.push(tookBareMs);
  }
  return {
    measure: 'list',
    request: request.replace(/marker=.*/, 'marker=…'),
    rows,
    ofRows: FILLING.volumes,
    n: TIMES,
    p50Ms: rounded(percentile(eachMs, 0.5)),
    p95Ms: rounded(percentile(eachMs, 0.95)),
    floorP50Ms: rounded(percentile(floorMs, 0.5)),
  };
}
