import { execFileSync, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { VolumeBackend } from '../../../../../activities/backends/backend';
import { createFileBackend } from '../../../../../activities/backends/file/backend';
import { findTool } from '../../../../../activities/command';
import { isLockRefused, withoutWriters } from '../../../../../activities/image/qemu-img';
import { waitFor } from '../../../../../worker/stack/wait';
import { MiB } from '../../../../../workflows/contract/bytes';
import type { BackendName, InstallationId, VolumeId } from '../../../../../workflows/contract/ids';
import { brand } from '../../../../support/brand';
import { imageMarker, IMAGE_BYTES, volumeMarker } from '../../../../support/markers';
import { endWithTest } from '../../../../support/machine/test-process';

const OFFSET = MiB;

let directory: string;
let backend: VolumeBackend;
let path: string;
let volumeId: VolumeId;
const searchPath = process.env['PATH'];

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'ivc-flatten-'));
  const installation = brand<InstallationId>(randomUUID());
  backend = await createFileBackend({
    name: brand<BackendName>('local'),
    installation,
    directory: join(directory, 'backend'),
    clone: 'overlay',
  });
  const request = { kind: 'image-volume', name: 'img', attempt: 'a1', virtualBytes: IMAGE_BYTES } as const;
  const target = await backend.ensureWriteTarget(request);
  await backend.sealImageVolume(target, imageMarker({ installation }, 'img'));
  const marker = volumeMarker({ installation });
  volumeId = marker.volumeId;
  const connection = await backend.ensureClone('img', marker);
  if (connection.driver !== 'file') throw new Error('no file');
  path = connection.path;
});
afterEach(() => {
  process.env['PATH'] = searchPath;
  rmSync(directory, { recursive: true, force: true });
});

/** `write -P <pattern>` as a guest of the volume does. */
const guest = (command: string): string =>
  execFileSync('qemu-io', ['-f', 'qcow2', '-c', command, path], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
const write = (pattern: number): string => guest(`write -P ${pattern} ${OFFSET} 4k`);
const holds = (pattern: number): boolean => !guest(`read -P ${pattern} ${OFFSET} 4k`).includes('failed');

/** A `qemu-img` that goes before the real one, and does something more after each conversion. */
function afterEachCopy(script: string): void {
  const bin = join(directory, 'bin');
  execFileSync('mkdir', ['-p', bin]);
  const real = findTool('qemu-img') ?? '';
  const text = `#!/bin/sh\n${real} "$@" || exit $?\n[ "$1" = convert ] || exit 0\necho >> ${directory}/copies\n${script}\nexit 0\n`;
  writeFileSync(join(bin, 'qemu-img'), text);
  chmodSync(join(bin, 'qemu-img'), 0o755);
  process.env['PATH'] = `${bin}:${searchPath ?? ''}`;
}

const copies = (): number => readFileSync(join(directory, 'copies'), 'utf8').length;
const qemuIo = (): string => findTool('qemu-io') ?? '';

describe('a volume that is flattened', () => {
  it('is copied again when a guest has written between the copy and the rename, and what it wrote is there', async () => {
    write(1);
    afterEachCopy(
      `[ -e ${directory}/written ] || ${qemuIo()} -f qcow2 -c 'write -P 2 ${OFFSET} 4k' ${path} >/dev/null; touch ${directory}/written`,
    );
    expect(await backend.ensureFlattened?.(volumeId, {})).toBe('flattened');
    expect(copies()).toBe(2);
    expect(holds(2)).toBe(true);
    expect(await backend.describeVolume(volumeId)).not.toHaveProperty('parent');
  });

  it('stays as it is when a guest writes after every copy', async () => {
    write(1);
    afterEachCopy(`${qemuIo()} -f qcow2 -c 'write -P 2 ${OFFSET} 4k' ${path} >/dev/null`);
    await expect(backend.ensureFlattened?.(volumeId, {})).rejects.toMatchObject({ type: 'VolumeInUse' });
    expect(copies()).toBe(3);
    expect(holds(2)).toBe(true);
    expect(await backend.describeVolume(volumeId)).toMatchObject({ parent: 'img' });
  });

  it('stays as it is when a guest that has started after the copy still has it open', async () => {
    const [copied, goOn] = [join(directory, 'copied'), join(directory, 'go-on')];
    afterEachCopy(`touch ${copied}; while [ ! -e ${goOn} ]; do sleep 0.02; done`);
    const flattening = backend.ensureFlattened?.(volumeId, {});
    const failure = Promise.resolve(flattening).catch((error: unknown) => error);
    await waitFor(() => existsSync(copied) || undefined, { what: 'the copy', deadlineMs: 30_000 });
    const running = endWithTest(spawn('qemu-io', ['-f', 'qcow2', path], { stdio: ['pipe', 'pipe', 'inherit'] }));
    running.stdin.write(`write -P 3 ${OFFSET} 4k\n`);
    await once(running.stdout, 'data');
    writeFileSync(goOn, '');
    expect(await failure).toMatchObject({ type: 'VolumeInUse' });
    const closed = once(running, 'close');
    running.stdin.end('flush\nquit\n');
    await closed;
    expect(await backend.describeVolume(volumeId)).toMatchObject({ parent: 'img' });
    expect(holds(3)).toBe(true);
  });
});

describe('the lock that keeps writers out', () => {
  it('holds while its work runs, for writers alone, and no longer', async () => {
    write(1);
    await withoutWriters(path, async () => {
      expect(() => write(2)).toThrow(/Failed to get .*lock/);
      // Another reader that shares, and another holder.
      expect(await withoutWriters(path, async () => await Promise.resolve('held'))).toBe('held');
      expect(
        execFileSync('qemu-img', ['convert', '-f', 'qcow2', '-O', 'raw', path, join(directory, 'copy')]),
      ).toHaveLength(0);
    });
    write(2);
    expect(holds(2)).toBe(true);
  });

  it('is refused, and its work not done, where the image is not there', async () => {
    const gone = join(directory, 'gone');
    const done = jest.fn();
    const failure = await withoutWriters(gone, async () => await Promise.resolve(done())).catch(
      (error: unknown) => error,
    );
    expect(failure).toMatchObject({ type: 'ToolFailed' });
    expect([isLockRefused(failure), done.mock.calls.length, existsSync(gone)]).toEqual([false, 0, false]);
  });

  it('is given back when its work fails', async () => {
    await expect(withoutWriters(path, async () => await Promise.reject(new Error('no')))).rejects.toThrow('no');
    write(2);
  });
});
