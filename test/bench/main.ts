import { parseArgs } from 'node:util';
import { formatTable } from '../../client/cli/output/table';
import { formatBytes } from '../../workflows/contract/bytes';
import type { Stack } from '../support/stack/stack';
import { startServers, type BenchServers } from './bench-stack';
import { measureBesideCinder } from './beside/cinder';
import { formatBeside } from './beside/report';
import type { BareStorage } from './floors';
import { measureApi } from './measures/api';
import { measureBulk } from './measures/bulk';
import { measureClones } from './measures/clones';
import { measureHerds } from './measures/herd';
import { measureHits } from './measures/hit';
import { measureLists, type ListMeasure } from './measures/lists';
import { measureMisses } from './measures/miss';
import { measureRefusals, type RefusalMeasure } from './measures/refusals';
import { measureResume } from './measures/resume';
import { measureScale } from './measures/scale';
import { measureDirectories } from './measures/scale-directory';
import { countParts, started, stopDownTo } from './parts';
import { startCeph, startOnCeph, startOnFiles } from './places';
import { formatPolicies, measurePolicies } from './policies/report';
import { formatScale } from './scale-report';
import type { Measure } from './result';

/** Needs a database and nothing else. */
const SCALE = 'scale';
/** Needs a million rows, and nothing else. */
const LISTS = 'lists';
/** Needs an identity. */
const REFUSALS = 'refusals';
/** Needs nothing at all. */
const POLICIES = 'policies';
const measures: Record<string, (servers: BenchServers, stack: Stack, storage: BareStorage) => Promise<Measure[]>> = {
  hit: measureHits,
  api: measureApi,
  clones: measureClones,
  bulk: measureBulk,
  herd: measureHerds,
  miss: measureMisses,
  resume: measureResume,
};

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      only: { type: 'string', multiple: true },
      json: { type: 'boolean' },
      backend: { type: 'string', multiple: true },
      beside: { type: 'string' },
    },
  });
  const known = [...Object.keys(measures), SCALE, LISTS, REFUSALS, POLICIES];
  const names = values.only ?? known;
  const unknown = names.find((name) => !known.includes(name));
  if (unknown !== undefined) throw new Error(`--only: got ${unknown}, allowed are ${known.join(', ')}`);
  if (values.beside !== undefined) return await printBeside(values.beside, values.json);
  const onStacks = names.filter((name) => measures[name] !== undefined);
  const results = onStacks.length === 0 ? [] : await measureOnStacks(onStacks, values.backend);
  const scale = names.includes(SCALE) ? [...(await measureDirectories()), ...(await measureScale())] : [];
  const lists = names.includes(LISTS) ? await measureLists(started(await startServers())) : [];
  const refusals = names.includes(REFUSALS) ? await measureRefusals(started(await startServers())) : [];
  const policies = names.includes(POLICIES) ? measurePolicies() : [];
  if (values.json)
    process.stdout.write(`${JSON.stringify([...results, ...scale, ...lists, ...refusals, ...policies], null, 2)}\n`);
  else {
    const tables = [
      results.length > 0 ? formatResults(results) : '',
      scale.length > 0 ? formatScale(scale) : '',
      lists.length > 0 ? formatLists(lists) : '',
      refusals.length > 0 ? formatRefusals(refusals) : '',
      policies.length > 0 ? formatPolicies(policies) : '',
    ];
    process.stdout.write(`${tables.filter((table) => table !== '').join('\n')}\n`);
  }
}

function formatLists(lists: ListMeasure[]): string {
  return formatTable(
    ['LIST', 'ROWS', 'OF', 'N', 'P50 MS', 'P95 MS', 'BARE ROWS AS JSON, P50 MS'],
    lists.map(({ request, rows, ofRows, n, p50Ms, p95Ms, floorP50Ms }) => [
      request,
      ...[rows, ofRows, n, p50Ms, p95Ms, floorP50Ms].map(String),
    ]),
  ).join('\n');
}

function formatRefusals(refusals: RefusalMeasure[]): string {
  return formatTable(
    ['404 OF', 'PAIRS', 'P50 MS, ABSENT', "P50 MS, ANOTHER PROJECT'S", 'NOISE MS'],
    refusals.map(({ what, n, absentP50Ms, foreignP50Ms, noiseMs }) => [
      what,
      ...[n, absentP50Ms, foreignP50Ms, noiseMs].map(String),
    ]),
  ).join('\n');
}

/** The other system and ours on one Ceph and one Glance, in place of what is measured beside bare tools. */
async function printBeside(other: string, json: boolean | undefined): Promise<void> {
  if (other !== 'cinder') throw new Error(`--beside: got ${other}, allowed is cinder`);
  const report = await measureBesideCinder(started(await startServers()));
  process.stdout.write(`${json ? JSON.stringify(report, null, 2) : formatBeside(report)}\n`);
}

async function measureOnStacks(names: string[], backends: string[] | undefined): Promise<Measure[]> {
  const servers = started(await startServers());
  const results: Measure[] = [];
  for (const method of methodsOf(backends)) results.push(...(await measureOn(servers, method, names)));
  return results;
}

type Method = 'reflink' | 'overlay' | 'ceph';

/** Reflinks are measured on an XFS of our own, which takes root, and Ceph only when it is named: it is installed and started for it. */
function methodsOf(given: string[] | undefined): Method[] {
  const byDefault: Method[] = process.getuid?.() === 0 ? ['reflink', 'overlay'] : ['overlay'];
  return given === undefined
    ? byDefault
    : (['reflink', 'overlay', 'ceph'] as const).filter((method) => given.includes(method));
}

async function measureOn(servers: BenchServers, method: Method, names: string[]): Promise<Measure[]> {
  const before = countParts();
  const { stack, storage } =
    method === 'ceph' ? await startOnCeph(servers, await startCeph(servers)) : await startOnFiles(servers, method);
  const results: Measure[] = [];
  for (const name of names) {
    process.stderr.write(`measuring ${name} on ${storage.backend}\n`);
    results.push(...((await measures[name]?.(servers, stack, storage)) ?? []));
  }
  await stopDownTo(before);
  return results;
}

function formatResults(results: Measure[]): string {
  const head = [
    'MEASURE',
    'BACKEND',
    'IN FLIGHT',
    'IMAGE',
    'N',
    'P50 MS',
    'P95 MS',
    'PER S',
    'POST P50 MS',
    'FLOOR MS',
    'RATIO',
    'HASH MS',
    'FLOOR',
    'BARE CLONES PER S',
    'OF MISS + CLONES',
    'MAP CHANGES',
    'ACTIONS',
    'EVENTS',
    'SQL',
    'PROCESSES',
    'DOWNLOADS',
    'POPULATIONS',
    'WORKER RSS',
    'SCRATCH',
    'SERVED',
  ];
  const text = (value: number | undefined) => (value === undefined ? '-' : String(value));
  return formatTable(
    head,
    results.map((result) => [
      result.measure,
      result.backend,
      text(result.inFlight ?? result.callers),
      formatBytes(result.imageBytes),
      text(result.n),
      text(result.p50Ms),
      text(result.p95Ms),
      text(result.perSecond),
      text(result.postP50Ms),
      text(result.floor.p50Ms),
      text(result.ratio),
      text(result.hashMs),
      result.floor.what,
      text(result.bareClonesPerSecond),
      text(result.ofMissAndClones),
      text(result.mapChanges),
      text(result.temporalActions),
      text(result.historyEvents),
      text(result.sqlStatements),
      text(result.processes),
      text(result.downloads),
      text(result.populations),
      result.workerRssBytes === undefined ? '-' : formatBytes(result.workerRssBytes),
      result.scratchBytes === undefined ? '-' : formatBytes(result.scratchBytes),
      text(result.servedShare),
    ]),
  ).join('\n');
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
  process.once(signal, () => {
    // The running measure loses its servers: its errors must not keep the others from being stopped.
    process.on('uncaughtException', () => undefined);
    void stopDownTo(0).finally(() => process.exit(130));
  });

main()
  .catch((error: unknown) => {
    process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
    process.exitCode = 1;
  })
  .finally(() => void stopDownTo(0));
