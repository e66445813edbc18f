import { Connection } from '@temporalio/client';
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import postgres from 'postgres';
import { endpointsPath, findEndpoints, type Endpoints } from '../../client/config/endpoints';
import { isProcessRunning, type ProcessIdentity } from '../../lib/process-identity';
import { parseDatabaseUrl } from '../../db/url';
import { choosePort } from '../../worker/ports';
import { readProcessFile } from '../../worker/stack/process-files';
import { waitFor } from '../../worker/stack/wait';
import { runIvc, spawnIvc, type IvcResult } from '../support/stack/ivc';
import { createTestDatabase, type TestDatabase } from '../support/database/postgres';

/** Any free ports, so that stacks beside each other do not meet. */
const configuration = `
temporal: { port: 0, uiPort: 0, retention: 3d }
images: { service: embedded, port: 0 }
api: { listen: '127.0.0.1:0', metrics: { port: 0 } }
worker: { metricsPort: 0 }
`;
const lightConfiguration = configuration.replace('retention: 3d', `taskQueuePrefix: up-${process.pid}-`);
const partNames = ['api', 'images', 'postgres', 'temporal', 'worker'];

let directory: string;
let data: string;
let environment: NodeJS.ProcessEnv;
let testDatabase: TestDatabase | undefined;

function prepare(): void {
  directory = mkdtempSync(join(tmpdir(), 'ivc-up-'));
  // As root the database runs as another user, who must be able to pass through.
  chmodSync(directory, 0o711);
  data = join(directory, 'data');
  environment = { IVC_DATA: data, IVC_CONFIG: write(configuration) };
}

/** Temporal and PostgreSQL of the whole run, for what is not about them: only images and worker are started. */
async function prepareWithoutServers(): Promise<void> {
  prepare();
  testDatabase = await createTestDatabase();
  environment['TEMPORAL_ADDRESS'] = process.env['IVC_TEST_TEMPORAL_ADDRESS'];
  environment['DATABASE_URL'] = testDatabase.url;
  write(lightConfiguration);
}

async function cleanUp(): Promise<void> {
  await ivc('down');
  await testDatabase?.drop();
  testDatabase = undefined;
  rmSync(directory, { recursive: true, force: true });
}

function write(text: string): string {
  const path = join(directory, 'temporal.yaml');
  writeFileSync(path, text);
  return path;
}

function ivc(...args: string[]): Promise<IvcResult> {
  return runIvc(args, environment);
}

async function up(): Promise<Endpoints> {
  const { exitCode, stderr } = await ivc('up', '--detach');
  if (exitCode !== 0) throw new Error(stderr);
  return running();
}

function running(): Endpoints {
  const endpoints = findEndpoints(data);
  if (!endpoints) throw new Error('no stack runs');
  return endpoints;
}

function partProcesses(): ProcessIdentity[] {
  return partNames.flatMap((name) => readProcessFile(join(data, 'run', `${name}.pid`)) ?? []);
}

async function query<T>(work: (sql: postgres.Sql) => Promise<T>): Promise<T> {
  const { host, database, user, password = '' } = parseDatabaseUrl(running().database.url);
  const sql = postgres({ host, database, user, password, max: 1 });
  try {
    return await work(sql);
  } finally {
    await sql.end();
  }
}

async function withTemporal<T>(work: (connection: Connection) => Promise<T>): Promise<T> {
  const connection = await Connection.connect({ address: running().temporal.address });
  try {
    return await work(connection);
  } finally {
    await connection.close();
  }
}

async function untilGone(processes: ProcessIdentity[]): Promise<void> {
  await waitFor(() => (processes.some(isProcessRunning) ? undefined : true), {
    what: 'all parts to end',
    deadlineMs: 30_000,
  });
}

describe('a stack that ivc up --detach left running', () => {
  let started: IvcResult;
  beforeAll(async () => {
    prepare();
    started = await ivc('up', '--detach');
  });
  afterAll(cleanUp);

  test('answers everywhere, and where is printed and written', async () => {
    expect(started).toMatchObject({ exitCode: 0, stderr: expect.stringContaining('`ivc down`') });
    const { temporal, images, database, api } = running();
    for (const url of [temporal.uiUrl, temporal.address, images.endpoint, api?.url, data])
      expect(started.stdout).toContain(url);
    expect(started.stdout).not.toContain(parseDatabaseUrl(database.url).password);
    expect((await fetch(temporal.uiUrl ?? '')).status).toBe(200);
    expect((await fetch(`${images.endpoint}/v2/images`)).status).toBe(200);
    expect((await fetch(`${api?.url}/v3/default/volumes`)).status).toBe(200);
    for (const command of ['status', 'doctor'])
      expect((await ivc(command)).stdout).toMatch(new RegExp(`block-storage API +${api?.url}`, 'i'));
    expect(await query(async (sql) => (await sql`SELECT count(*)::int AS rows FROM installation`)[0]?.['rows'])).toBe(
      1,
    );
    expect(partProcesses().filter(isProcessRunning)).toHaveLength(partNames.length);
  });

  test('keeps secrets, state and logs to their owner', () => {
    const mode = (path: string) => statSync(path).mode & 0o777;
    expect(mode(endpointsPath(data))).toBe(0o600);
    for (const name of ['logs', 'run', 'images', 'temporal', 'postgres/data'])
      expect(mode(join(data, name))).toBe(0o700);
    const password = parseDatabaseUrl(running().database.url).password ?? '';
    for (const log of readdirSync(join(data, 'logs'))) {
      expect(mode(join(data, 'logs', log))).toBe(0o600);
      expect(readFileSync(join(data, 'logs', log), 'utf8')).not.toContain(password);
    }
    for (const { pid } of partProcesses()) expect(readFileSync(`/proc/${pid}/cmdline`, 'utf8')).not.toContain(password);
  });

  test('has the search attributes and the retention of the configuration', async () => {
    await withTemporal(async ({ operatorService, workflowService }) => {
      const { customAttributes } = await operatorService.listSearchAttributes({ namespace: 'default' });
      expect(Object.keys(customAttributes ?? {})).toEqual(
        expect.arrayContaining(['Backend', 'ImageId', 'CacheKey', 'Outcome']),
      );
      const { config } = await workflowService.describeNamespace({ namespace: 'default' });
      expect(Number(config?.workflowExecutionRetentionTtl?.seconds)).toBe(3 * 86_400);
    });
  });

  test('is what a second one tells of', async () => {
    const { supervisor } = running();
    const { exitCode, stdout, stderr } = await ivc('up', '--detach');
    expect(exitCode).toBe(0);
    expect(stderr).toContain(String(supervisor.pid));
    expect(stdout).toContain(running().temporal.uiUrl);
    expect(running().supervisor).toEqual(supervisor);
  });
});

describe('ivc up', () => {
  beforeEach(prepareWithoutServers);
  afterEach(cleanUp);

  test('two at once make one stack', async () => {
    const both = await Promise.all([ivc('up', '--detach'), ivc('up', '--detach')]);
    expect(both.map(({ exitCode }) => exitCode)).toEqual([0, 0]);
    const { supervisor, images } = running();
    for (const { stdout } of both) expect(stdout).toContain(images.endpoint);
    expect(both.filter(({ stderr }) => stderr.includes(String(supervisor.pid)))).toHaveLength(1);
  });

  test('a taken port moves to a free one and says so', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    const port = typeof address === 'object' && address ? address.port : 0;
    write(lightConfiguration.replace('embedded, port: 0', `embedded, port: ${port}`));
    try {
      const { stderr } = await ivc('up', '--detach');
      expect(stderr).toContain(`port ${port} `);
      expect(running().images.endpoint).not.toContain(`:${port}`);
    } finally {
      server.close();
    }
  });

  test('a part that is configured and does not answer is one clear error, and nothing stays', async () => {
    const { exitCode, stderr } = await runIvc(['up', '--detach'], { ...environment, TEMPORAL_ADDRESS: '127.0.0.1:1' });
    expect(exitCode).toBe(5);
    expect(stderr).toContain('temporal.address: 127.0.0.1:1');
    expect(partProcesses()).toEqual([]);
    expect(existsSync(endpointsPath(data))).toBe(false);
  });

  test('an API that may not serve is a fault of the configuration, before anything starts', async () => {
    write(lightConfiguration.replace('127.0.0.1:0', '0.0.0.0:0'));
    const { exitCode, stderr } = await ivc('up', '--detach');
    expect(exitCode).toBe(2);
    expect(stderr).toContain('api.listen: got 0.0.0.0:0, allowed is a loopback address');
    expect(partProcesses()).toEqual([]);
  });

  test('parts that are configured are used and not started', async () => {
    const { temporal, database: used } = await up();
    expect(readdirSync(join(data, 'run')).filter((name) => name.endsWith('.pid'))).toEqual([
      'api.pid',
      'images.pid',
      'worker.pid',
    ]);
    expect(temporal).toMatchObject({ address: environment['TEMPORAL_ADDRESS'], embedded: false });
    expect(used).toEqual({ url: environment['DATABASE_URL'], embedded: false });
  });

  test('in the foreground, the stack goes with the command', async () => {
    const stack = spawnIvc(['up'], environment);
    await stack.says(/ready; Ctrl-C stops it/);
    const { supervisor } = running();
    const parts = partProcesses();
    stack.process.kill('SIGKILL');
    await untilGone([supervisor, ...parts]);
    expect(existsSync(endpointsPath(data))).toBe(false);
  });

  test('in the foreground, Ctrl-C stops everything, whoever uses another first', async () => {
    const stack = spawnIvc(['up'], environment);
    await stack.says(/ready; Ctrl-C stops it/);
    const parts = partProcesses();
    stack.process.kill('SIGINT');
    const { exitCode, stderr } = await stack.ended;
    expect(exitCode).toBe(0);
    expect([...stderr.matchAll(/^(\w+) +stopped/gm)].map((match) => match[1])).toEqual(['api', 'worker', 'images']);
    expect(parts.filter(isProcessRunning)).toEqual([]);
    expect(existsSync(endpointsPath(data))).toBe(false);
  });

  test.each(['worker', 'images', 'api'])('%s is started again when it is killed', async (name) => {
    const endpoints = await up();
    const pid = () => readProcessFile(join(data, `run/${name}.pid`))?.pid;
    const before = pid();
    process.kill(before ?? 0, 'SIGKILL');
    await waitFor(() => (pid() === before || pid() === undefined ? undefined : true), {
      what: `${name} to be started again`,
      deadlineMs: 30_000,
    });
    // A process is in its pid file when it starts, and in the stack's endpoints when it is ready.
    await waitFor(
      async () => {
        const { worker } = running();
        const told = worker?.pid === readProcessFile(join(data, 'run/worker.pid'))?.pid;
        return told && (await ivc('doctor')).exitCode === 0 ? true : undefined;
      },
      { what: 'the stack to be sound and to tell its worker', deadlineMs: 30_000 },
    );
    expect(running()).toMatchObject({ images: endpoints.images, api: endpoints.api });
  });

  test('a worker that ends again and again stops everything, and the next command tells of it', async () => {
    await up();
    const parts = partProcesses();
    const killed = new Set<number>();
    await waitFor(
      () => {
        const pid = readProcessFile(join(data, 'run/worker.pid'))?.pid;
        if (pid !== undefined && !killed.has(pid)) process.kill(pid, 'SIGKILL');
        killed.add(pid ?? 0);
        return findEndpoints(data) === undefined ? true : undefined;
      },
      { what: 'the stack to give up', deadlineMs: 90_000 },
    );
    await untilGone(parts);
    const { exitCode, stderr } = await runIvc(['image', 'list'], { IVC_DATA: data });
    expect(exitCode).toBe(5);
    expect(stderr).toContain('its part worker had ended with SIGKILL');
    expect(stderr).toContain(join(data, 'logs/worker.log'));
  }, 120_000);
});

describe('after kill -9', () => {
  beforeEach(prepare);
  afterEach(cleanUp);

  async function remember(): Promise<void> {
    await query((sql) => sql`CREATE TABLE kept AS SELECT 7 AS number`);
    await withTemporal(({ workflowService }) =>
      workflowService.startWorkflowExecution({
        namespace: 'default',
        workflowId: 'kept',
        requestId: 'kept',
        workflowType: { name: 'Kept' },
        taskQueue: { name: 'nobody' },
      }),
    );
  }

  async function recall(): Promise<unknown> {
    const number = await query(async (sql) => (await sql`SELECT number FROM kept`)[0]?.['number']);
    const description = await withTemporal(({ workflowService }) =>
      workflowService.describeWorkflowExecution({ namespace: 'default', execution: { workflowId: 'kept' } }),
    );
    return { number, type: description.workflowExecutionInfo?.type?.name };
  }
  const remembered = { number: 7, type: 'Kept' };

  test('of the supervisor, the next up ends what was left and finds everything again', async () => {
    const { supervisor } = await up();
    await remember();
    const lost = partProcesses();
    process.kill(supervisor.pid, 'SIGKILL');
    await untilGone([supervisor]);
    const { exitCode, stderr } = await ivc('up', '--detach');
    expect(exitCode).toBe(0);
    expect(stderr).toContain('api, worker, images, postgres, temporal');
    expect(lost.filter(isProcessRunning)).toEqual([]);
    expect(await recall()).toEqual(remembered);
  });

  test('of everything, the next up finds everything again', async () => {
    const { supervisor } = await up();
    await remember();
    const lost = [supervisor, ...partProcesses()];
    for (const { pid } of lost) process.kill(pid, 'SIGKILL');
    await untilGone(lost);
    await up();
    expect(await recall()).toEqual(remembered);
  });

  test('of the supervisor, ivc down ends what was left', async () => {
    const { supervisor } = await up();
    const lost = partProcesses();
    expect(lost).toHaveLength(partNames.length);
    process.kill(supervisor.pid, 'SIGKILL');
    await untilGone([supervisor]);
    expect(await ivc('down')).toMatchObject({ exitCode: 0 });
    expect(lost.filter(isProcessRunning)).toEqual([]);
  });

  test('of PostgreSQL, everything else stops in order, and its name and the end of its log are told', async () => {
    const stack = spawnIvc(['up'], environment);
    await stack.says(/ready; Ctrl-C stops it/);
    const parts = partProcesses();
    process.kill(readProcessFile(join(data, 'run/postgres.pid'))?.pid ?? 0, 'SIGKILL');
    const { exitCode, stderr } = await stack.ended;
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(new RegExp(`postgres .*SIGKILL.*${join(data, 'logs/postgres.log')}`));
    expect([...stderr.matchAll(/^(\w+) +stopped/gm)].map((match) => match[1])).toEqual([
      'api',
      'worker',
      'images',
      'postgres',
      'temporal',
    ]);
    expect(parts.filter(isProcessRunning)).toEqual([]);
  });
});

describe('ivc down', () => {
  beforeEach(prepareWithoutServers);
  afterEach(cleanUp);

  test('stops everything and waits for it', async () => {
    const { supervisor } = await up();
    const parts = [supervisor, ...partProcesses()];
    expect(await ivc('down')).toMatchObject({ exitCode: 0 });
    expect(parts.filter(isProcessRunning)).toEqual([]);
    expect(readdirSync(join(data, 'run'))).toEqual([]);
  });

  test('does nothing when nothing runs', async () => {
    expect(await ivc('down')).toMatchObject({ exitCode: 0 });
  });
});

describe('stacks that start at the same moment', () => {
  beforeEach(prepare);
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  it('all run, though they want the same ports', async () => {
    const [port, uiPort, imagesPort, apiPort] = await Promise.all([0, 0, 0, 0].map((any) => choosePort(any)));
    const config = write(`
temporal: { port: ${port}, uiPort: ${uiPort} }
images: { service: embedded, port: ${imagesPort} }
api: { listen: '127.0.0.1:${apiPort}', metrics: { port: 0 } }
worker: { metricsPort: 0 }
`);
    const places = ['one', 'two', 'three'].map((name) => join(directory, name));
    const each = (command: string[]) =>
      Promise.all(places.map((place) => runIvc(command, { IVC_DATA: place, IVC_CONFIG: config })));
    try {
      expect((await each(['up', '--detach'])).map(({ exitCode }) => exitCode)).toEqual([0, 0, 0]);
      const addresses = places.map((place) => findEndpoints(place)?.temporal.address);
      expect(new Set(addresses).size).toBe(3);
      expect(addresses).toContain(`127.0.0.1:${port}`);
      const apis = places.map((place) => findEndpoints(place)?.api?.url);
      expect(new Set(apis).size).toBe(3);
      expect(apis).toContain(`http://127.0.0.1:${apiPort}`);
    } finally {
      expect((await each(['down'])).map(({ exitCode }) => exitCode)).toEqual([0, 0, 0]);
    }
  });
});
