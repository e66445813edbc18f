import { readFileSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';
import { createVolume } from '../../client/volumes';
import { choosePort } from '../../worker/ports';
import { openRawHttp, requestHead } from '../support/machine/raw-http';
import { startApi, type TestApi } from '../support/stack/api';
import { useStack } from '../support/stack/flows';
import { readIvc, runIvc } from '../support/stack/ivc';

const documents = resolve(__dirname, '../../docs');
const read = (...path: string[]) => readFileSync(join(documents, ...path), 'utf8');

const NO_IMAGE = 'b5fbf39f-0000-4000-8000-000000000000';
const flows = useStack({ config: { worker: { metricsInterval: '200ms' } } });
let metricsUrl: string;
let hit: { volumeId: string };
let api: TestApi;

/** One create of every outcome, on one worker. */
beforeAll(async () => {
  const { stack } = flows;
  metricsUrl = stack.workers[0]?.metricsUrl ?? '';
  const first = await flows.upload('first');
  await flows.create(first.image);
  hit = await flows.create(first.image);
  const herd = await flows.upload('herd');
  await Promise.all([flows.create(herd.image), flows.create(herd.image)]);
  await flows.create(first.image, { bypassCache: true });
  await flows.create((await flows.upload('streamed', { diskFormat: 'raw' })).image);
  // Refused, both: no such image, and no such backend.
  await createVolume(stack.cache, { imageId: NO_IMAGE, backend: stack.backend }).catch(() => undefined);
  await createVolume(stack.cache, { imageId: first.image.id, backend: 'nowhere' }).catch(() => undefined);
  api = await startApi(stack, { metrics: { port: await choosePort(0) } });
});
afterAll(() => api.stop());

const count = (name: string, ...labels: string[]) => readLabelled(name, labels);

/** @returns the sum of the samples that have all of `labels`. */
async function readLabelled(name: string, labels: string[]): Promise<number> {
  const samples = (await (await fetch(metricsUrl)).text())
    .split('\n')
    .filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
    .filter((line) => labels.every((label) => line.includes(label)));
  return samples.reduce((total, line) => total + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
}

/** Names of our own metrics that the endpoint serves. */
async function servedNames(): Promise<string[]> {
  const endpoints = [metricsUrl, api.metricsUrl ?? ''];
  const text = (await Promise.all(endpoints.map(async (url) => await (await fetch(url)).text()))).join('\n');
  return [...new Set([...text.matchAll(/^# TYPE (ivc_\w+) /gm)].flatMap(([, name = '']) => name))].sort();
}

describe('the metrics endpoint', () => {
  it('of a second worker on the same port is on a free one', async () => {
    const second = await flows.stack.spawnWorker({
      roles: ['control'],
      environment: { IVC_METRICS_PORT: new URL(metricsUrl).port },
    });
    const there = (await second.ready).metricsUrl;
    expect(there).not.toBe(metricsUrl);
    expect((await fetch(there)).status).toBe(200);
    expect(await second.stop()).toBe(0);
  });

  it('counts creates by outcome, and why the cache was bypassed', async () => {
    const backend = `backend="${flows.stack.backend}"`;
    const creates = (outcome: string, ...more: string[]) => count('ivc_creates_total', `outcome="${outcome}"`, ...more);
    expect({
      hit: await creates('hit', backend),
      miss: await creates('miss', backend),
      joined: await creates('joined', backend),
      bypassed: await creates('bypassed', backend, 'reason="requested"'),
      refused: await creates('refused', backend),
      refusedElsewhere: await creates('refused', 'backend="unknown"'),
      failed: await creates('failed'),
    }).toEqual({ hit: 1, miss: 3, joined: 1, bypassed: 1, refused: 1, refusedElsewhere: 1, failed: 0 });
  });

  it('has how long creates took, by outcome', async () => {
    const taken = (outcome: string) => count('ivc_create_seconds_count', `outcome="${outcome}"`);
    expect([await taken('hit'), await taken('miss'), await taken('bypassed')]).toEqual([1, 3, 1]);
    expect(await count('ivc_create_seconds_bucket', 'outcome="hit"', 'le="21600"')).toBe(1);
    // The objective of the alert.
    expect(await count('ivc_create_seconds_bucket', 'outcome="hit"', 'le="1"')).toBeLessThanOrEqual(1);
    const { totalMs } = await hitDecision();
    expect(await count('ivc_create_seconds_sum', 'outcome="hit"')).toBeCloseTo(totalMs / 1000, 3);
  });

  it('counts what was transferred, how long its stages took and what clones were spared', async () => {
    const entries = await count('ivc_populations_total', 'verdict="ready"');
    expect(entries).toBe(3);
    const stage = (name: string) => count('ivc_population_stage_seconds_count', `stage="${name}"`);
    // The bypass downloads and converts too.
    expect([await stage('download'), await stage('convert'), await stage('stream')]).toEqual([1, 1, 3]);
    expect(await count('ivc_population_stage_seconds_bucket', 'stage="stream"', 'le="21600"')).toBe(3);
    expect(await count('ivc_downloaded_bytes_total')).toBe(await downloadedByDecisions());
    expect(await count('ivc_saved_bytes_total')).toBe(await savedByDecisions());
  });

  it('shows what the inventory holds, without a statement that counts as one of a create', async () => {
    const { stack } = flows;
    const { backend } = stack;
    await flows.until('the gauges to follow', async () => (await count('ivc_entries', 'state="ready"')) === 3);
    expect(await count('ivc_volumes', 'state="available"')).toBe(6);
    expect(await count('ivc_cache_limit_entries', `backend="${backend}"`)).toBe(50);
    expect(await count('ivc_cached_bytes')).toBeGreaterThan(0);
    expect(await count('ivc_scratch_limit_bytes')).toBe(50 * 1024 ** 3);
    const [statements, readAt] = [await count('ivc_sql_statements_total'), await count(READ_AT)];
    await flows.until('another reading', async () => (await count(READ_AT)) > readAt);
    expect(await count('ivc_sql_statements_total')).toBe(statements);
  });
});

describe('the metrics endpoint of the block-storage API', () => {
  const requests = async (...labels: string[]) =>
    (await (await fetch(api.metricsUrl ?? '')).text())
      .split('\n')
      .filter((line) => line.startsWith('ivc_api_request_seconds_count{'))
      .filter((line) => labels.every((label) => line.includes(label)))
      .reduce((total, line) => total + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);

  it('has how long requests took by method, route and status', async () => {
    for (const path of ['volumes', 'volumes/x', 'volumes/y', 'nowhere/x']) await api.call(`GET /v3/p1/${path}`);
    await flows.until('the requests to be counted', async () => (await requests()) === 4);
    const get = 'method="GET"';
    expect({
      list: await requests(get, 'route="/v3/:project_id/volumes"', 'status="200"'),
      show: await requests(get, 'route="/v3/:project_id/volumes/:volume_id"', 'status="404"'),
      none: await requests(get, 'route="none"', 'status="404"'),
    }).toEqual({ list: 1, show: 2, none: 1 });
  });

  it('counts what is being answered, and who goes before the answer', async () => {
    const inFlight = async () =>
      /^ivc_api_requests_in_flight (\d+)$/m.exec(await (await fetch(api.metricsUrl ?? '')).text())?.[1];
    const connection = await openRawHttp(api.url);
    connection.say(requestHead('POST /v3/p1/volumes', 100));
    await flows.until('the request to be counted', async () => (await inFlight()) === '1');
    connection.socket.destroy();
    await flows.until('it to be over', async () => (await inFlight()) === '0');
    expect(await requests('method="POST"', 'status="499"')).toBe(1);
  });

  it('has probes beside it, which are asked by no client', async () => {
    for (const url of [api.livenessUrl, api.readinessUrl]) expect((await fetch(url)).status).toBe(200);
  });
});

const READ_AT = 'ivc_inventory_read_timestamp_seconds';

describe('the record of a create that was answered by a clone', () => {
  it('has the bytes and seconds that it was spared, as `ivc status` and `ivc volume show` tell', async () => {
    const { stack } = flows;
    const [decision] = await stack.inventory.decisions(hit.volumeId);
    const entry = await stack.inventory.entry(decision?.entryId ?? '');
    expect(decision).toMatchObject({ outcome: 'hit', savedBytes: entry?.imageBytes, savedSeconds: entry?.costSeconds });
    expect(decision?.savedBytes).toBeGreaterThan(0);
    const { stdout } = await runIvc(['status', '--json'], stack.environment);
    const { decisions } = JSON.parse(stdout) as { decisions: { savedBytes: number } };
    expect(decisions.savedBytes).toBe(await savedByDecisions());
  });
});

describe('ivc volume list', () => {
  it('shows one page after the other, and every volume once', async () => {
    const { environment } = flows.stack;
    const ids: string[] = [];
    for (let after: string[] = [], next: string | null = ''; next !== null; after = ['--after', next ?? '']) {
      const { stdout } = await runIvc(['volume', 'list', '--json', '--limit', '4', ...after], environment);
      const page = JSON.parse(stdout) as { volumes: { volumeId: string }[]; next: string | null };
      ids.push(...page.volumes.map(({ volumeId }) => volumeId));
      next = page.next;
    }
    expect(ids).toHaveLength(6);
    expect(new Set(ids).size).toBe(6);
  });
});

describe('ivc report', () => {
  it('tells how creates were answered, what that saved and what a miss cost', async () => {
    const { stdout, exitCode } = await runIvc(['report', '--since', '1h'], flows.stack.environment);
    expect(exitCode).toBe(0);
    expect(stdout).toContain('1 hit, 1 joined, 3 miss, 1 bypassed, 2 refused, 0 failed\nhit rate 17 %');
    expect(stdout).toMatch(/^miss +download +3 /m);
    expect(stdout).toMatch(/^refused +1 +ImageNotFound$/m);
    expect(stdout).toMatch(/^bypassed +1 +the request asked/m);
  });

  it('writes the same as JSON, and as a page that only its owner can read', async () => {
    const { stack, directory } = flows;
    const path = join(directory, 'report.html');
    const { stdout } = await runIvc(
      ['report', '--json', '--html', path, '--backend', stack.backend],
      stack.environment,
    );
    const report = JSON.parse(stdout) as {
      totals: object;
      buckets: object[];
      images: { imageName: string }[];
      expensiveMisses: { imageName: string }[];
    };
    expect(report.totals).toMatchObject({
      hit: 1,
      joined: 1,
      miss: 3,
      bypassed: 1,
      savedBytes: await savedByDecisions(),
    });
    expect(report.buckets).toHaveLength(49);
    expect(report.expensiveMisses).toHaveLength(3);
    const names = [...report.expensiveMisses, ...report.images].map(({ imageName }) => imageName);
    expect(new Set(names)).toEqual(new Set(['sample']));
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readFileSync(path, 'utf8')).toContain(`backend ${stack.backend}</p>`);
  });

  it('names the period when it is none', async () => {
    expect(await readIvc(['report', '--since', 'yesterday'], flows.stack.environment)).toMatchObject({
      exitCode: 2,
      document: { error: { type: 'Usage', message: expect.stringContaining('yesterday') } },
    });
  });
});

describe('what is written about the metrics', () => {
  it('names every metric of the endpoint in the documentation, and no other', async () => {
    const documented = [...read('manual', 'watch.md').matchAll(/^\| `(ivc_\w+)` \|/gm)].flatMap(
      ([, name = '']) => name,
    );
    expect(documented.toSorted()).toEqual(await servedNames());
  });

  it('has alert rules whose metrics all exist', async () => {
    const { groups } = rulesSchema.parse(parse(read('prometheus', 'alerts.yaml')));
    const rules = groups.flatMap((group) => group.rules);
    expect(rules.length).toBeGreaterThan(8);
    expect(namesIn(rules.map(({ expr }) => expr)).filter(isUnknownTo(await servedNames()))).toEqual([]);
  });

  it("asks for metrics of Temporal's SDK that exist", async () => {
    const { panels } = dashboardSchema.parse(JSON.parse(read('grafana', 'image-volume-cache.json')));
    const { groups } = rulesSchema.parse(parse(read('prometheus', 'alerts.yaml')));
    const expressions = [
      ...panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr)),
      ...groups.flatMap(({ rules }) => rules.map(({ expr }) => expr)),
    ];
    const served = [...(await (await fetch(metricsUrl)).text()).matchAll(/^# TYPE (temporal_\w+) /gm)];
    const names = served.map(([, name = '']) => name);
    expect(namesIn(expressions, 'temporal_').filter(isUnknownTo(names))).toEqual([]);
  });

  it('has a dashboard whose panels ask for metrics that all exist', async () => {
    const { panels } = dashboardSchema.parse(JSON.parse(read('grafana', 'image-volume-cache.json')));
    const expressions = panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));
    expect(expressions.length).toBeGreaterThan(10);
    expect(namesIn(expressions).filter(isUnknownTo(await servedNames()))).toEqual([]);
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
  });
});

const rulesSchema = z.strictObject({
  groups: z.array(
    z.strictObject({
      name: z.string(),
      rules: z.array(
        z.strictObject({
          alert: z.string(),
          expr: z.string(),
          for: z.string().optional(),
          labels: z.strictObject({ severity: z.enum(['critical', 'warning', 'info']) }),
          annotations: z.strictObject({ summary: z.string(), description: z.string(), runbook_url: z.string() }),
        }),
      ),
    }),
  ),
});

const dashboardSchema = z.object({
  title: z.string(),
  panels: z.array(
    z.object({ id: z.int(), type: z.string(), targets: z.array(z.object({ expr: z.string() })).optional() }),
  ),
});

/** Words of PromQL that begin as metrics do. */
function namesIn(expressions: string[], prefix = 'ivc_'): string[] {
  const names = expressions.flatMap((text) => text.match(new RegExp(`\\b${prefix}\\w+`, 'g')) ?? []);
  expect(names.length).toBeGreaterThan(0);
  return [...new Set(names)].sort();
}

/** A histogram is served as three names. */
function isUnknownTo(served: string[]): (name: string) => boolean {
  return (name) => !served.includes(name) && !served.includes(name.replace(/_(?:bucket|sum|count)$/, ''));
}

async function hitDecision(): Promise<{ totalMs: number }> {
  const [decision] = await flows.stack.inventory.decisions(hit.volumeId);
  return { totalMs: decision?.timingsMs.total ?? 0 };
}

async function savedByDecisions(): Promise<number> {
  return (await flows.stack.inventory.decisions()).reduce((total, { savedBytes }) => total + savedBytes, 0);
}

async function downloadedByDecisions(): Promise<number> {
  return (await flows.stack.inventory.decisions()).reduce((total, { bytesDownloaded }) => total + bytesDownloaded, 0);
}
