import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import postgres from 'postgres';
import { parseDatabaseUrl } from '../../../../db/url';
import { findProcess, isProcessRunning } from '../../../../lib/process-identity';
import { startPostgres, type PostgresServer } from '../../../../worker/stack/postgres';
import { endWithTest } from '../../../support/machine/test-process';

let root: string;
let running: PostgresServer[];
beforeEach(() => {
  running = [];
  root = mkdtempSync(join(tmpdir(), 'ivc-postgres-'));
  chmodSync(root, 0o711);
});
afterEach(async () => {
  await Promise.all(running.map((server) => server.stop()));
  rmSync(root, { recursive: true, force: true });
});

async function start(directory = join(root, 'postgres')): Promise<PostgresServer> {
  const server = await startPostgres({
    directory,
    logPath: join(root, 'postgres.log'),
    database: 'inventory',
    durable: false,
  });
  running.push(server);
  return server;
}

async function query<T>({ url }: PostgresServer, work: (sql: postgres.Sql) => Promise<T>): Promise<T> {
  const { host, database, user, password = '' } = parseDatabaseUrl(url);
  const sql = postgres({ host, database, user, password, max: 1, onnotice: () => undefined });
  try {
    return await work(sql);
  } finally {
    await sql.end({ timeout: 1 });
  }
}

const remember = (server: PostgresServer) => query(server, (sql) => sql`CREATE TABLE kept AS SELECT 7 AS number`);
const recall = (server: PostgresServer) =>
  query(server, async (sql) => (await sql`SELECT number FROM kept`)[0]?.['number']);

test('it listens on a socket that only its owner reaches, without TCP, with a secret that stands in no argument', async () => {
  const server = await start();
  const { host, password } = parseDatabaseUrl(server.url);
  expect(statSync(host).mode & 0o777).toBe(0o700);
  expect(await query(server, async (sql) => (await sql`SHOW listen_addresses`)[0]?.['listen_addresses'])).toBe('');
  expect(readFileSync(`/proc/${server.part.process.pid}/cmdline`, 'utf8')).not.toContain(password);
  expect(existsSync(join(root, 'postgres', 'data.password'))).toBe(false);
});

test('a wrong password is refused', async () => {
  const server = await start();
  const wrong = { ...server, url: server.url.replace(/:[^:@]+@/, ':wrong@') };
  await expect(query(wrong, (sql) => sql`SELECT 1`)).rejects.toThrow(/password authentication failed/);
});

test('a stop and a start keep the data, and the stop ends the process', async () => {
  const first = await start();
  await remember(first);
  await first.stop();
  expect(isProcessRunning(first.part.process)).toBe(false);
  expect(await recall(await start())).toBe(7);
});

test('a server that was killed is recovered by the next start', async () => {
  const first = await start();
  await remember(first);
  process.kill(first.part.process.pid, 'SIGKILL');
  expect(await first.part.exited).toBe('SIGKILL');
  expect(await recall(await start())).toBe(7);
});

test('a server that its supervisor lost is ended before the next one starts', async () => {
  const lost = await start();
  await remember(lost);
  const next = await start();
  expect(isProcessRunning(lost.part.process)).toBe(false);
  expect(await recall(next)).toBe(7);
});

test('who looks around in the data directory, as an administrator’s shell does, is left alone', async () => {
  const lost = await start();
  const visitor = endWithTest(spawn('sleep', ['600'], { cwd: join(root, 'postgres', 'data'), stdio: 'ignore' }));
  await once(visitor, 'spawn');
  await start();
  expect(isProcessRunning(lost.part.process)).toBe(false);
  expect([visitor.exitCode, visitor.signalCode]).toEqual([null, null]);
  expect(findProcess(visitor.pid ?? 0)).toBeDefined();
});

test('a lock file whose pid belongs to another process by now does not keep it from starting', async () => {
  const first = await start();
  const pidFile = join(root, 'postgres', 'data', 'postmaster.pid');
  const content = readFileSync(pidFile, 'utf8');
  process.kill(first.part.process.pid, 'SIGKILL');
  await first.part.exited;
  writeFileSync(pidFile, content.replace(/^\d+/, String(process.pid)));
  await expect(start()).resolves.toBeDefined();
});

test('an initialization that was interrupted is done again', async () => {
  mkdirSync(join(root, 'postgres', 'data.making', 'base'), { recursive: true });
  await expect(start()).resolves.toBeDefined();
});

test('a path that is too long for a socket gets its socket elsewhere, and leaves no directory there', async () => {
  const directory = join(root, 'long'.repeat(30));
  const first = await start(directory);
  const { host } = parseDatabaseUrl(first.url);
  expect(dirname(host)).toBe(tmpdir());
  process.kill(first.part.process.pid, 'SIGKILL');
  await first.part.exited;
  const second = await start(directory);
  expect(existsSync(host)).toBe(false);
  await second.stop();
  expect(existsSync(parseDatabaseUrl(second.url).host)).toBe(false);
});
