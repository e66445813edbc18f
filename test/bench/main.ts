import { parseArgs } from 'node:util';
import { formatTable } from '../../client/cli/output/table';
import { formatBytes, GiB } from '../../workflows/contract/bytes';
import { mountFileSystem } from '../support/machine/filesystems';
import type { Stack } from '../support/stack/stack';
import { startBenchStack, startServers, type BenchServers } from './bench-stack';
import { measureHerds } from './measures/herd';
import { measureHits } from './measures/hit';
import { measureMisses } from './measures/miss';
import { measureResume } from './measures/resume';
import { measureScale } from './measures/scale';
import { measureDirectories } from './measures/scale-directory';
import { formatPolicies, measurePolicies } from './policies/report';
import { formatScale } from './scale-report';
import type { Measure } from './result';

/** Needs a database and nothing else. */
const SCALE = 'scale';
/** Needs nothing at all. */
const POLICIES = 'policies';
const measures: Record<
  string,
  (servers: BenchServers, stack: Stack, method: 'reflink' | 'overlay') => Promise<Measure[]>
> = {
  hit: measureHits,
  herd: measureHerds,
  miss: measureMisses,
  resume: measureResume,
};
/** Room for every volume of the bench, as a sparse file. */
const XFS_BYTES = 40 * GiB;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      only: { type: 'string', multiple: true },
      json: { type: 'boolean' },
      backend: { type: 'string', multiple: true },
    },
  });
  const known = [...Object.keys(measures), SCALE, POLICIES];
  const names = values.only ?? known;
  const unknown = names.find((name) => !known.includes(name));
  if (unknown !== undefined) throw new Error(`--only: got ${unknown}, allowed are ${known.join(', ')}`);
  const onStacks = names.filter((name) => measures[name] !== undefined);
  const results = onStacks.length === 0 ? [] : await measureOnStacks(onStacks, values.backend);
  const scale = names.includes(SCALE) ? [...(await measureDirectories()), ...(await measureScale())] : [];
  const policies = names.includes(POLICIES) ? measurePolicies() : [];
  if (values.json) process.stdout.write(`${JSON.stringify([...results, ...scale, ...policies], null, 2)}\n`);
  else {
    const tables = [
      results.length > 0 ? formatResults(results) : '',
      scale.length > 0 ? formatScale(scale) : '',
      policies.length > 0 ? formatPolicies(policies) : '',
    ];
    process.stdout.write(`${tables.filter((table) => table !== '').join('\n')}\n`);
  }
}

async function measureOnStacks(names: string[], backends: string[] | undefined): Promise<Measure[]> {
  const servers = started(await startServers());
  const results: Measure[] = [];
  for (const method of methodsOf(backends)) results.push(...(await measureOn(servers, method, names)));
  return results;
}

/** Reflinks are measured on an XFS of our own, which takes root. */
function methodsOf(given: string[] | undefined): Array<'reflink' | 'overlay'> {
  const all = process.getuid?.() === 0 ? (['reflink', 'overlay'] as const) : (['overlay'] as const);
  return given === undefined ? [...all] : all.filter((method) => given.includes(method));
}

async function measureOn(servers: BenchServers, method: 'reflink' | 'overlay', names: string[]): Promise<Measure[]> {
  const before = parts.length;
  const mounted = method === 'reflink' ? await mountFileSystem('xfs', XFS_BYTES) : undefined;
  if (mounted !== undefined) started({ stop: () => mounted.unmount() });
  const stack = started(
    await startBenchStack(servers, { clone: method, volumesDirectory: mounted && `${mounted.directory}/volumes` }),
  );
  const results: Measure[] = [];
  for (const name of names) {
    process.stderr.write(`measuring ${name} on file/${method}\n`);
    results.push(...((await measures[name]?.(servers, stack, method)) ?? []));
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
    'FLOOR MS',
    'RATIO',
    'HASH MS',
    'FLOOR',
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
      text(result.floor.p50Ms),
      text(result.ratio),
      text(result.hashMs),
      result.floor.what,
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

interface Part {
  stop(this: void): Promise<void>;
}

const parts: Part[] = [];

/** Remembers what is to be stopped at the end, or when somebody interrupts. */
function started<Started extends Part>(part: Started): Started {
  parts.push(part);
  return part;
}

/** The last one first, until so many are left. */
async function stopDownTo(count: number): Promise<void> {
  while (parts.length > count) await parts.pop()?.stop();
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
  process.once(signal, () => void stopDownTo(0).finally(() => process.exit(130)));

main()
  .catch((error: unknown) => {
    process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
    process.exitCode = 1;
  })
  .finally(() => void stopDownTo(0));
