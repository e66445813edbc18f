import { fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { statSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rename, rm, stat, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DownloadedImage } from '../../../../activities/image/download';
import { readHostId } from '../../../../activities/image/host-id';
import { openScratch, type EnsureRequest, type Scratch } from '../../../../activities/image/scratch';
import type { Progress, ProgressReporter } from '../../../../activities/progress';
import { TiB } from '../../../../workflows/contract/bytes';
import { uuidPattern } from '../../../../workflows/contract/ids';
import { endWithTest } from '../../../support/machine/test-process';

const HASH = 'sha512-0123abcd';

let directory: string;
let scratch: Scratch;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'scratch-'));
  scratch = await openScratch({ directory });
});

afterEach(async () => {
  await scratch.close();
  await rm(directory, { recursive: true, force: true });
});

/** @returns a directory on another file system than that of temporary files. */
function otherFileSystem(): string {
  const { dev } = statSync(tmpdir());
  const other = ['/dev/shm', '/tmp'].find((path) => statSync(path).dev !== dev);
  if (other === undefined) throw new Error('this machine has one file system');
  return other;
}

interface Caller extends ProgressReporter {
  reports: Progress[];
  abort(reason: string): void;
}

function caller(): Caller {
  const controller = new AbortController();
  const reports: Progress[] = [];
  return {
    signal: controller.signal,
    reports,
    report: (progress) => reports.push(progress),
    abort: (reason) => controller.abort(new Error(reason)),
  };
}

function deferred<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => undefined;
  const promise = new Promise<T>((done) => (resolve = done));
  return { promise, resolve };
}

/** A transfer that writes when it is let, and counts how often it was begun. */
function heldTransfer(content = 'bytes') {
  const held = deferred<void>();
  const begun = deferred<ProgressReporter>();
  const calls = { count: 0 };
  const transfer: EnsureRequest['transfer'] = async (partialPath, reporter): Promise<DownloadedImage> => {
    calls.count += 1;
    begun.resolve(reporter);
    const aborted = once(reporter.signal, 'abort').then(() => Promise.reject(reporter.signal.reason as Error));
    await Promise.race([held.promise, aborted]);
    await writeFile(partialPath, content);
    return { bytes: content.length, bytesDownloaded: content.length, seconds: 1 };
  };
  return { transfer, calls, begun: begun.promise, release: held.resolve };
}

const write: EnsureRequest['transfer'] = async (partialPath) => {
  await writeFile(partialPath, 'bytes');
  return { bytes: 5, bytesDownloaded: 5, seconds: 1 };
};

/** Holds a lock as another worker's process would. */
const holderSource = `
const { readFileSync, writeFileSync } = require('node:fs');
const startTime = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim() + '/' + readFileSync('/proc/self/stat', 'utf8').split(') ').pop().split(' ')[19];
writeFileSync(process.argv[2], JSON.stringify({ pid: process.pid, startTime }));
process.send('held');
process.on('disconnect', () => process.exit());
`;

/** Holds the lock as a worker of this version does, with a child that outlives it. */
const workerSource = `
const { openSync } = require('node:fs');
const { spawn, spawnSync } = require('node:child_process');
const descriptor = openSync(process.argv[2], 'a+', 0o600);
const locked = spawnSync('flock', ['-n', '3'], { stdio: ['ignore', 'ignore', 'ignore', descriptor] });
if (locked.status !== 0) throw new Error('the lock is held');
const child = spawn('sleep', ['60'], { stdio: 'ignore', detached: true });
process.send(child.pid);
process.on('disconnect', () => process.exit());
`;

describe('a scratch', () => {
  it('has a host id that stays the same, a directory for its owner alone, and no lock once it is closed', async () => {
    expect(scratch.hostId).toMatch(uuidPattern);
    expect(await readHostId(directory)).toBe(scratch.hostId);
    expect((await stat(join(directory, 'images'))).mode & 0o777).toBe(0o700);
    await scratch.close();
    await expect(stat(join(directory, 'lock'))).rejects.toMatchObject({ code: 'ENOENT' });
    scratch = await openScratch({ directory });
    expect(await readHostId(directory)).toBe(scratch.hostId);
  });

  it('has another host id on another machine, for all who ask at the same time, and the same where nothing proves another', async () => {
    const [here, clone] = [
      { machineId: 'aa', productUuid: 'p1' },
      { machineId: 'aa', productUuid: 'p2' },
    ];
    const fresh = join(directory, 'cloned');
    const first = await readHostId(fresh, here);
    for (const same of [here, {}, { machineId: 'aa' }, { machineId: 'bb', productUuid: 'p1' }])
      expect(await readHostId(fresh, same)).toBe(first);
    const ids = new Set(await Promise.all(Array.from({ length: 8 }, () => readHostId(fresh, clone))));
    expect(ids.size).toBe(1);
    expect(ids).not.toContain(first);
    expect(await readHostId(fresh, {})).toBe([...ids][0]);
    expect((await readdir(fresh)).sort()).toEqual(['host-id', 'host-machine']);
  });

  it('keeps the host id of a scratch that was made before ids were bound to machines', async () => {
    const old = join(directory, 'old');
    await mkdir(old);
    await writeFile(join(old, 'host-id'), '0f8fad5b-d9cb-469f-a165-70867728950e\n');
    expect(await readHostId(old, { machineId: 'aa' })).toBe('0f8fad5b-d9cb-469f-a165-70867728950e');
    expect(await readHostId(old, { machineId: 'bb' })).not.toBe('0f8fad5b-d9cb-469f-a165-70867728950e');
  });

  it('gives one host id to all who ask first at the same time', async () => {
    const fresh = join(directory, 'fresh');
    const ids = await Promise.all(Array.from({ length: 8 }, () => readHostId(fresh)));
    expect(new Set(ids).size).toBe(1);
  });

  it('is refused to a second worker while the first runs', async () => {
    await expect(openScratch({ directory })).rejects.toThrow(new RegExp(`\\b${process.pid}\\b`));
  });

  it('is refused while another process holds it, and taken over when that was killed', async () => {
    await scratch.close();
    const script = join(directory, 'holder.cjs');
    await writeFile(script, holderSource);
    const holder = endWithTest(fork(script, [join(directory, 'lock')], { execArgv: [] }));
    await once(holder, 'message');
    await expect(openScratch({ directory })).rejects.toThrow(new RegExp(`\\b${holder.pid}\\b`));
    holder.kill('SIGKILL');
    await once(holder, 'exit');
    scratch = await openScratch({ directory });
    expect(scratch.hostId).toMatch(uuidPattern);
  });

  it('is refused while a process of another PID namespace holds it, and taken over when that was killed', async () => {
    await scratch.close();
    const path = join(directory, 'lock');
    // Its pid is one of its own namespace, which is no process here, or another one.
    const script = 'printf \'{"pid":2,"startTime":"elsewhere"}\' > "$0"; echo held; read -r line';
    const locking = ['flock', '-n', path, 'sh', '-c', script, path];
    const asUser = process.getuid?.() === 0 ? [] : ['--user', '--map-current-user'];
    const unshare = [...asUser, '--pid', '--fork', '--kill-child', ...locking];
    const holder = endWithTest(spawn('unshare', unshare, { stdio: ['pipe', 'pipe', 'inherit'] }));
    await once(holder.stdout, 'data');
    await expect(openScratch({ directory })).rejects.toThrow(/process 2\b/);
    holder.kill('SIGKILL');
    await once(holder, 'close');
    scratch = await openScratch({ directory });
    expect(scratch.hostId).toMatch(uuidPattern);
  });

  it('is free again as soon as its worker was killed, though children of that worker live on', async () => {
    await scratch.close();
    const script = join(directory, 'worker.cjs');
    await writeFile(script, workerSource);
    const worker = endWithTest(fork(script, [join(directory, 'lock')], { execArgv: [] }));
    const [childPid] = (await once(worker, 'message')) as [number];
    await expect(openScratch({ directory })).rejects.toThrow(directory);
    worker.kill('SIGKILL');
    await once(worker, 'exit');
    scratch = await openScratch({ directory });
    expect(scratch.hostId).toMatch(uuidPattern);
    process.kill(childPid, 'SIGKILL');
  });

  it('takes over a lock whose pid another process has now, and one that is half-written', async () => {
    await scratch.close();
    await writeFile(join(directory, 'lock'), JSON.stringify({ pid: process.pid, startTime: 'long ago' }));
    await (await openScratch({ directory })).close();
    await writeFile(join(directory, 'lock'), '{"pid"');
    scratch = await openScratch({ directory });
    expect(scratch.hostId).toMatch(uuidPattern);
  });

  it('shows a file only when its transfer is complete', async () => {
    const { transfer, begun, release } = heldTransfer();
    const running = scratch.ensure(HASH, { sizeBytes: 5, reporter: caller(), transfer });
    await begun;
    expect(await scratch.find(HASH)).toBeUndefined();
    release();
    expect(await running).toEqual({
      path: scratch.pathOf(HASH),
      bytes: 5,
      outcome: 'transferred',
      bytesDownloaded: 5,
      seconds: 1,
    });
    expect(await scratch.find(HASH)).toEqual({ path: scratch.pathOf(HASH), bytes: 5 });
  });

  it('answers at once with a file that is there', async () => {
    await scratch.ensure(HASH, { sizeBytes: 5, reporter: caller(), transfer: write });
    const { transfer, calls } = heldTransfer();
    expect(await scratch.ensure(HASH, { sizeBytes: 5, reporter: caller(), transfer })).toMatchObject({
      outcome: 'present',
      bytesDownloaded: 0,
    });
    expect(calls.count).toBe(0);
  });

  it('runs one transfer for all who want the same bytes, and tells all of them how far it is', async () => {
    const { transfer, calls, begun, release } = heldTransfer();
    const callers = [caller(), caller(), caller()];
    const results = callers.map((reporter) => scratch.ensure(HASH, { sizeBytes: 5, reporter, transfer }));
    const reporter = await begun;
    // A caller that comes while it runs shares it: all have come once the last one's check of the disk is done.
    await scratch.find(HASH);
    reporter.report({ stage: 'downloading', summary: 'half' });
    release();
    const outcomes = (await Promise.all(results)).map(
      ({ outcome, bytesDownloaded }) => `${outcome} ${bytesDownloaded}`,
    );
    expect(outcomes.sort()).toEqual(['shared 0', 'shared 0', 'transferred 5']);
    expect(calls.count).toBe(1);
  });

  it('goes on for the others when one caller leaves, and is aborted when the last one does', async () => {
    const { transfer, calls, begun } = heldTransfer();
    const [first, second] = [caller(), caller()];
    const left = scratch.ensure(HASH, { sizeBytes: 5, reporter: first, transfer });
    await begun;
    const leftToo = scratch.ensure(HASH, { sizeBytes: 5, reporter: second, transfer });
    await scratch.find(HASH);
    first.abort('first left');
    await expect(left).rejects.toThrow('first left');
    second.abort('second left');
    await expect(leftToo).rejects.toThrow('second left');
    expect(calls.count).toBe(1);
    expect(await scratch.ensure(HASH, { sizeBytes: 5, reporter: caller(), transfer: write })).toMatchObject({
      outcome: 'transferred',
    });
  });

  it('tells all callers of a failure and lets the next one try again', async () => {
    const transfer = () => Promise.reject(new Error('no route'));
    const failed = await Promise.allSettled(
      [1, 2].map(() => scratch.ensure(HASH, { sizeBytes: 5, reporter: caller(), transfer })),
    );
    expect(failed.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    expect(await scratch.ensure(HASH, { sizeBytes: 5, reporter: caller(), transfer: write })).toMatchObject({
      outcome: 'transferred',
    });
  });

  it('writes nothing while another file system is in its place, and goes on when its own is back', async () => {
    const other = await mkdtemp(join(otherFileSystem(), 'ivc-scratch-'));
    try {
      await rename(directory, `${directory}-away`);
      await symlink(other, directory);
      const unavailable = { type: 'ScratchUnavailable' };
      await expect(scratch.ensure(HASH, { sizeBytes: 5, reporter: caller(), transfer: write })).rejects.toMatchObject(
        unavailable,
      );
      await expect(scratch.capacityBytes()).rejects.toMatchObject(unavailable);
      expect(await readdir(other)).toEqual([]);
      await rm(directory);
      await rename(`${directory}-away`, directory);
      expect(await scratch.ensure(HASH, { sizeBytes: 5, reporter: caller(), transfer: write })).toMatchObject({
        outcome: 'transferred',
      });
    } finally {
      await rm(other, { recursive: true, force: true });
    }
  });

  it('says ScratchFull when the disk is full', async () => {
    const transfer = () => Promise.reject(Object.assign(new Error('no space'), { code: 'ENOSPC' }));
    await expect(scratch.ensure(HASH, { sizeBytes: 5, reporter: caller(), transfer })).rejects.toMatchObject({
      type: 'ScratchFull',
      details: { host: scratch.hostId, neededBytes: 5 },
    });
  });

  it('lists what is there, and removes it whole, partial, or absent', async () => {
    await scratch.ensure(HASH, { sizeBytes: 5, reporter: caller(), transfer: write });
    await writeFile(`${scratch.pathOf('md5-ff')}.partial`, 'part');
    expect(await scratch.list()).toMatchObject([
      { contentHash: 'md5-ff', complete: false, bytes: 4 },
      { contentHash: HASH, complete: true, bytes: 5 },
    ]);
    for (const contentHash of [HASH, 'md5-ff', 'sha256-absent']) await scratch.remove(contentHash);
    expect(await scratch.list()).toEqual([]);
  });

  it('aborts a running transfer whose file is removed', async () => {
    const { transfer, begun } = heldTransfer();
    const running = scratch.ensure(HASH, { sizeBytes: 5, reporter: caller(), transfer });
    await begun;
    const [ended] = await Promise.allSettled([running, scratch.remove(HASH)]);
    expect(ended).toMatchObject({ status: 'rejected', reason: new Error('the transfer was ended') });
    expect(await scratch.list()).toEqual([]);
  });

  it('takes no name that leaves its directory', () => {
    for (const name of ['../host-id', 'a/b', '', '.', 'sha512-FF', 'x.partial'])
      expect(() => scratch.pathOf(name)).toThrow('contentHash');
  });

  it('knows how many bytes are free', async () => {
    expect(await scratch.freeBytes()).toBeGreaterThan(0);
  });

  it('could hold, if it were empty, what is free and what its files take up: holes take up nothing', async () => {
    const before = await scratch.mostBytes();
    await writeFile(scratch.pathOf(HASH), '');
    await truncate(scratch.pathOf(HASH), TiB);
    expect(await scratch.mostBytes()).toBeLessThan(before + TiB / 2);
  });

  it('counts what its files have as room of its own', async () => {
    const before = await scratch.capacityBytes();
    const path = scratch.pathOf(HASH);
    await writeFile(path, '');
    await truncate(path, TiB);
    // Others on this machine write far less meanwhile.
    expect(await scratch.capacityBytes()).toBeGreaterThan(before + TiB / 2);
  });
});
