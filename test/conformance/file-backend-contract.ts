import { randomUUID } from 'node:crypto';
import { spawn } from 'node:child_process';
import {
  chmod,
  copyFile,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import type { BackendObject, KnownPlace } from '../../activities/backends/backend';
import { createFileBackend } from '../../activities/backends/file/backend';
import { runCommand } from '../../activities/command';
import { getImageInfo } from '../../activities/image/qemu-img';
import { MiB, TiB } from '../../workflows/contract/bytes';
import type { BackendName, ContentId, InstallationId, VolumeId } from '../../workflows/contract/ids';
import { brand } from '../support/brand';
import { countReads } from '../support/machine/count-reads';
import { IMAGE_BYTES, volumeMarker } from '../support/markers';
import { commandsStarted } from '../support/machine/commands-started';
import { holdAsGuest, checkImage, createOverlay, isSameGuest, readGuest, writeAsGuest } from '../support/images/qemu';
import { kinds, objects, sealSample, type BackendPlace } from './backend-contract';
import { endWithTest } from '../support/machine/test-process';

export type CloneSetting = 'auto' | 'reflink' | 'overlay';
export interface FilePlace extends BackendPlace {
  directory: string;
}

const name = brand<BackendName>('local');
const GROWN_BYTES = 64 * MiB;
const OTHER_VOLUMES = 40;

/** A file backend in a new directory below `parent`. */
export async function makeFilePlace(parent: string, clone: CloneSetting = 'auto'): Promise<FilePlace> {
  const root = await mkdtemp(join(parent, 'ivc-backend-'));
  return await openFilePlace(root, brand<InstallationId>(randomUUID()), clone);
}

/** The promises of the file driver alone: how things lie in the directory. `method`: the one that `auto` must choose there. */
export function describeFileBackend(
  title: string,
  makePlace: () => Promise<FilePlace>,
  method: 'reflink' | 'overlay',
): void {
  describe(title, () => {
    let place: FilePlace;
    let samples: string;
    const image = (): string => join(place.directory, 'images', 'img.raw');
    beforeEach(async () => {
      samples = await mkdtemp(join(tmpdir(), 'ivc-samples-'));
      place = await makePlace();
      await sealSample(place, samples, 'img');
    });
    afterEach(async () => {
      await place.remove();
      await rm(samples, { recursive: true, force: true });
    });

    it('says of a raw volume which bytes its file has, wherever a replacement of them was killed', async () => {
      const { backend, directory } = place;
      const made = volumeMarker(place);
      const { volumeId } = made;
      const [data, file] = ['raw', 'json'].map((end) => join(directory, 'volumes', `${volumeId}.${end}`));
      const write = async (attempt: string) =>
        await backend.ensureWriteTarget({ kind: 'volume', name: volumeId, attempt, virtualBytes: MiB });
      const connection = await backend.publishVolume(await write('a1'), made);
      const former = JSON.parse(await readFile(file ?? '', 'utf8')) as object;
      const marker = { ...made, content: brand<ContentId>(randomUUID()) };
      await backend.ensureReplaced({ target: await write('a2'), marker, former: null });
      const { ino: inode } = await stat(data ?? '');
      const markerOf = async () => {
        const described = await backend.describeVolume(volumeId);
        return described.kind === 'present' ? described.marker : undefined;
      };
      // The file that was to take its place has done so, or not.
      for (const [of, settled, found] of [
        [inode, connection, marker],
        [inode + 1, undefined, made],
      ] as const) {
        const next = { inode: of, stored: { marker, parent: null } };
        await writeFile(file ?? '', JSON.stringify({ ...former, next }));
        expect(await markerOf()).toEqual(found);
        expect(await backend.settleReplaced(volumeId, marker.content)).toEqual(settled);
        expect(await readFile(file ?? '', 'utf8')).not.toContain('next');
        expect(await markerOf()).toEqual(found);
      }
    });

    it(`clones by ${method}, starts no process for it, and says why nothing faster is used`, async () => {
      const before = commandsStarted();
      const connection = await place.backend.ensureClone('img', volumeMarker(place));
      expect(commandsStarted()).toBe(before);
      const { cloneMethod, cloneMethodReason, clonesPinParent } = place.backend.capabilities;
      if (method === 'reflink') {
        expect({ cloneMethod, cloneMethodReason, clonesPinParent }).toEqual({
          cloneMethod: 'reflink',
          cloneMethodReason: undefined,
          clonesPinParent: false,
        });
        expect(connection).toMatchObject({ driver: 'file', format: 'raw' });
      } else {
        expect({ cloneMethod, clonesPinParent }).toEqual({ cloneMethod: 'qcow2 overlay', clonesPinParent: true });
        expect(cloneMethodReason).toMatch(/no reflinks|configuration/);
        expect(connection).toMatchObject({ driver: 'file', format: 'qcow2' });
      }
    });

    it('keeps parents read-only, volumes writable by their owner alone, and directories closed', async () => {
      const connection = await place.backend.ensureClone('img', volumeMarker(place));
      expect(await modeOf(image())).toBe(0o400);
      expect(await modeOf(place.diskOf(connection).filename)).toBe(0o600);
      expect(await modeOf(join(place.directory, 'images'))).toBe(0o700);
      expect(await modeOf(join(place.directory, 'volumes'))).toBe(0o700);
    });

    it('reads all volumes and takes new clones after the directory moved', async () => {
      const marker = volumeMarker(place, { sizeBytes: GROWN_BYTES });
      const before = await readGuest(place.diskOf(await place.backend.ensureClone('img', marker)));
      const moved = `${place.directory}-moved`;
      await rename(place.directory, moved);
      const backend = await createFileBackend({
        name,
        installation: place.installation,
        directory: moved,
        clone: 'auto',
      });
      const described = await backend.describeVolume(marker.volumeId);
      if (described.kind === 'absent') throw new Error('the volume is gone');
      expect(described.marker).toEqual(marker);
      expect(await readGuest(place.diskOf(described.connection))).toEqual(before);
      await writeAsGuest(place.diskOf(described.connection));
      expect(await backend.describeParent('img')).toMatchObject({ kind: 'sealed' });
      expect(
        await readGuest(
          place.diskOf(await backend.ensureClone('img', volumeMarker(place, { sizeBytes: GROWN_BYTES }))),
        ),
      ).toEqual(before);
    });

    it.each<[string, () => Promise<unknown>, object]>([
      [
        'has another mode',
        async () => await chmod(image(), 0o600),
        { kind: 'changed', found: 'its mode is 600, not 400' },
      ],
      [
        'was written, though its size and mode are as before',
        async () => await writeBehindTheSeal(image()),
        { kind: 'changed', found: 'it was written after it was sealed' },
      ],
      ['was touched', async () => await utimes(image(), new Date(), new Date()), { kind: 'changed' }],
      ['lost its marker', async () => await rm(join(place.directory, 'images', 'img.json')), { kind: 'unsealed' }],
      ['is gone', async () => await rm(image()), { kind: 'absent' }],
    ])('clones no parent that %s', async (_, damage, described) => {
      await damage();
      expect(await place.backend.describeParent('img')).toMatchObject(described);
      await expect(place.backend.ensureClone('img', volumeMarker(place))).rejects.toMatchObject({
        type: 'ParentUnusable',
      });
      expect(await kinds(place.backend)).not.toContain('volume');
    });

    it('refuses a directory of another installation, and one of another backend', async () => {
      await expect(place.reopen(brand<InstallationId>(randomUUID()))).rejects.toMatchObject({ type: 'ForeignObject' });
      const other = createFileBackend({
        name: brand<BackendName>('other'),
        installation: place.installation,
        directory: place.directory,
        clone: 'auto',
      });
      await expect(other).rejects.toMatchObject({ type: 'ForeignObject' });
      expect(await readdir(place.directory)).toEqual(expect.arrayContaining(['backend.json', 'images', 'volumes']));
    });

    it('lists what it did not make as foreign', async () => {
      await writeFile(join(place.directory, 'notes.txt'), 'mine');
      await writeFile(join(place.directory, 'images', 'other.raw'), 'mine');
      await writeFile(join(place.directory, 'volumes', 'disk.qcow2'), 'mine');
      await writeFile(join(place.directory, 'volumes', `${randomUUID()}.raw`), 'mine');
      await mkdir(join(place.directory, 'volumes', 'snapshots'));
      expect(await kinds(place.backend)).toEqual([
        'foreign',
        'foreign',
        'foreign',
        'foreign',
        'foreign',
        'image-volume',
      ]);
    });

    it('refuses to touch a volume that it did not make', async () => {
      const marker = volumeMarker(place);
      const theirs = join(place.directory, 'volumes', `${marker.volumeId}.raw`);
      await writeFile(theirs, 'mine');
      await writeFile(
        theirs.replace(/raw$/, 'json'),
        JSON.stringify({ marker: { ...marker, installation: randomUUID() }, parent: 'img' }),
      );
      await expect(place.backend.ensureClone('img', marker)).rejects.toMatchObject({ type: 'ForeignObject' });
      await expect(place.backend.ensureVolumeAbsent(marker.volumeId)).rejects.toMatchObject({ type: 'ForeignObject' });
      expect((await stat(theirs)).size).toBe(4);
    });

    it('takes nothing for absent while its directory is not there, as below a mount that went away', async () => {
      const marker = volumeMarker(place);
      const { filename } = place.diskOf(await place.backend.ensureClone('img', marker));
      await rename(place.directory, `${place.directory}-away`);
      for (const leaveEmpty of [false, true]) {
        if (leaveEmpty)
          for (const part of ['images', 'volumes']) await mkdir(join(place.directory, part), { recursive: true });
        const unavailable = { type: 'BackendUnavailable' };
        await expect(place.backend.describeParent('img')).rejects.toMatchObject(unavailable);
        await expect(place.backend.reclaimableBytes?.('img')).rejects.toMatchObject(unavailable);
        await expect(place.backend.space()).rejects.toMatchObject(unavailable);
        await expect(place.backend.describeVolume(marker.volumeId)).rejects.toMatchObject(unavailable);
        await expect(place.backend.ensureClone('img', volumeMarker(place))).rejects.toMatchObject(unavailable);
        await expect(place.backend.ensureVolumeAbsent(marker.volumeId)).rejects.toMatchObject(unavailable);
        await expect(place.backend.ensureImageVolumeAbsent('img')).rejects.toMatchObject(unavailable);
        const attempt = { kind: 'image-volume', name: 'img', attempt: 'a1' } as const;
        await expect(place.backend.ensureAttemptAbsent(attempt)).rejects.toMatchObject(unavailable);
        await expect(place.backend.ensureWriteTarget({ ...attempt, virtualBytes: IMAGE_BYTES })).rejects.toMatchObject(
          unavailable,
        );
        await expect(objects(place.backend)).rejects.toMatchObject(unavailable);
      }
      await rm(place.directory, { recursive: true });
      await rename(`${place.directory}-away`, place.directory);
      expect((await stat(filename)).isFile()).toBe(true);
    });

    it('takes a place that was claimed for the same backend at another time for another: nothing is absent there, and nothing is written', async () => {
      await rename(place.directory, `${place.directory}-away`);
      const other = await place.reopen();
      expect(other.placeId).not.toBe(place.backend.placeId);
      const unavailable = { type: 'BackendUnavailable' };
      await expect(place.backend.describeParent('img')).rejects.toMatchObject(unavailable);
      await expect(place.backend.space()).rejects.toMatchObject(unavailable);
      await expect(objects(place.backend)).rejects.toMatchObject(unavailable);
      await sealSample({ ...place, backend: other }, await mkdtemp(join(samples, 'other-')), 'img');
      await expect(place.backend.ensureClone('img', volumeMarker(place))).rejects.toMatchObject(unavailable);
      expect(await readdir(join(place.directory, 'volumes'))).toEqual([]);
      await rm(place.directory, { recursive: true });
      await rename(`${place.directory}-away`, place.directory);
      expect((await place.reopen()).placeId).toBe(place.backend.placeId);
      expect(await place.backend.describeParent('img')).toMatchObject({ kind: 'sealed' });
    });

    it('claims no directory where the inventory has something, until somebody says that the former place is lost', async () => {
      const { installation, directory } = place;
      const id = place.backend.placeId;
      const open = async (known: Omit<KnownPlace, 'describeHoldings'>, holdings?: string) =>
        await createFileBackend({
          name,
          installation,
          directory,
          clone: 'auto',
          known: { ...known, describeHoldings: async () => await Promise.resolve(holdings) },
        });
      const holdings = '3 volumes and 2 image-volumes';
      expect((await open({ id }, holdings)).placeId).toBe(id);
      expect((await open({ id: undefined }, holdings)).placeId).toBe(id);
      await rename(directory, `${directory}-away`);
      await mkdir(directory);
      for (const [known, expected] of [
        [{ id }, id],
        [{ id, lostId: randomUUID() }, id],
        [{ id: undefined }, installation],
      ] as const) {
        const refused = open(known, holdings);
        const named = [`^backends.local: ${directory} `, installation, holdings, `IVC_LOST_PLACE=${expected}$`];
        await expect(refused).rejects.toThrow(new RegExp(named.join('.*')));
        expect(await readdir(directory)).toEqual([]);
      }
      const made = await open({ id, lostId: id }, holdings);
      expect(made.placeId).not.toBe(id);
      await expect(open({ id }, holdings)).rejects.toThrow(made.placeId);
      expect((await open({ id })).placeId).toBe(made.placeId);
    });

    it('lists a marker whose volume is missing as a partial that goes by what it says', async () => {
      const marker = volumeMarker(place);
      await writeFile(
        join(place.directory, 'volumes', `${marker.volumeId}.json`),
        JSON.stringify({ marker, parent: 'img' }),
      );
      const [, partial] = await objects(place.backend);
      expect(partial).toMatchObject({ kind: 'partial', partial: { kind: 'volume', name: marker.volumeId } });
      if (partial?.partial) await place.backend.ensureAttemptAbsent(partial.partial);
      expect(await kinds(place.backend)).toEqual(['image-volume']);
    });

    it('removes what a killed try has left when it makes the clone, and when it finds it made', async () => {
      const marker = volumeMarker(place);
      const left = ['clone.partial', 'clone.json.partial', '99-0123456789ab.partial'];
      const leave = (names: string[]) =>
        Promise.all(
          names.map((end) => writeFile(join(place.directory, 'partial-volumes', `${marker.volumeId}.${end}`), 'half')),
        );
      const partials = () => readdir(join(place.directory, 'partial-volumes'));
      await leave(left);
      const connection = await place.backend.ensureClone('img', marker);
      expect(await partials()).toEqual([]);
      await leave(left.slice(0, 2));
      expect(await place.backend.ensureClone('img', marker)).toEqual(connection);
      expect(await partials()).toEqual([]);
      const disk = place.diskOf(connection);
      expect(await isSameGuest(disk, { format: 'raw', filename: image() })).toBe(true);
    });

    it('makes one of many clones of one volume at once, and leaves nothing of the others', async () => {
      const marker = volumeMarker(place);
      const connections = await Promise.all(Array.from({ length: 16 }, () => place.backend.ensureClone('img', marker)));
      expect(new Set(connections.map((connection) => JSON.stringify(connection))).size).toBe(1);
      expect(await readdir(join(place.directory, 'partial-volumes'))).toEqual([]);
    });

    it('removes what an earlier version has left beside volumes and image-volumes', async () => {
      const names = [`volumes/${randomUUID()}.1-ab.partial`, 'images/img.1-ab.partial', 'images/img.1-ab.json.partial'];
      for (const file of names) await writeFile(join(place.directory, file), 'half');
      await removeFound(place, await objects(place.backend));
      expect(await kinds(place.backend)).toEqual(['image-volume']);
    });

    it('goes on with what an earlier version has written beside image-volumes', async () => {
      const request = { kind: 'image-volume', name: 'next', virtualBytes: IMAGE_BYTES } as const;
      const { path = '' } = await place.backend.ensureWriteTarget({ ...request, attempt: 'a1' });
      await rename(path, join(place.directory, 'images', 'next.a1.partial'));
      const taken = await place.backend.takeOverAttempt?.({ ...request, from: 'a1', to: 'a2' });
      expect((await stat(taken?.path ?? '')).size).toBe(IMAGE_BYTES);
    });

    it('reads nothing of other volumes and other parents, however many there are, when it makes or deletes one', async () => {
      await sealSample(place, samples, 'other');
      for (let made = 0; made < OTHER_VOLUMES; made += 1) await place.backend.ensureClone('other', volumeMarker(place));
      const marker = volumeMarker(place);
      const reads = [
        await countReads(() => place.backend.ensureClone('img', marker)),
        await countReads(() => place.backend.ensureVolumeAbsent(marker.volumeId)),
        await countReads(() => place.backend.ensureImageVolumeAbsent('img')),
      ];
      expect(reads.filter(({ names, opened }) => names + opened > OTHER_VOLUMES / 2)).toEqual([]);
      expect(await kinds(place.backend)).toEqual(['image-volume', ...Array<string>(OTHER_VOLUMES).fill('volume')]);
    });

    it('keeps every answered clone, and nothing half-made counts as a volume, when a cloning process is killed', async () => {
      const parent = place.parentDiskOf('img');
      for (const answers of [1, 7, 20]) {
        const answered = await cloneUntilKilled(place, answers);
        const found = await objects(place.backend);
        const volumes = found.filter(({ kind }) => kind === 'volume').map((volume) => volume.name);
        expect(volumes).toEqual(expect.arrayContaining(answered));
        for (const volume of sample(volumes, 12))
          expect(await isIdenticalClone(place, volume, parent.filename)).toBe(true);
        expect(found.filter(({ kind }) => kind === 'foreign')).toEqual([]);
        await removeFound(place, found);
      }
      expect(new Set(await kinds(place.backend))).toEqual(new Set(['image-volume', 'volume']));
    });

    if (method === 'overlay') {
      it.each([IMAGE_BYTES, GROWN_BYTES, 2 * TiB, 1024 * TiB])(
        'makes overlays of %p bytes that QEMU finds sound and equal to its own',
        async (sizeBytes) => {
          const connection = await place.backend.ensureClone('img', volumeMarker(place, { sizeBytes }));
          const overlay = { path: place.diskOf(connection).filename, format: 'qcow2' } as const;
          const own = join(place.directory, 'volumes', 'by-qemu-img.qcow2');
          await createOverlay(own, { file: '../images/img.raw', format: 'raw' }, sizeBytes);
          expect(await checkImage(overlay)).toEqual({ errors: 0, leaks: 0 });
          const { realBytes: _, ...info } = await getImageInfo(overlay);
          expect(info).toEqual({ ...(await getImageInfo({ path: own, format: 'qcow2' })), realBytes: undefined });
          expect(info).toMatchObject({ virtualBytes: sizeBytes, backingFile: '../images/img.raw', format: 'qcow2' });
          await writeAsGuest(place.diskOf(connection), { offset: sizeBytes - 65_536, bytes: 65_536 });
          expect(await checkImage(overlay)).toEqual({ errors: 0, leaks: 0 });
        },
      );

      describe('knows the clones that need a parent', () => {
        let volumeId: VolumeId;
        const refused = {
          type: 'ParentUnusable',
          details: { found: expect.stringContaining(' needed by ') as string },
        };
        beforeEach(async () => {
          const marker = volumeMarker(place);
          volumeId = marker.volumeId;
          await place.backend.ensureClone('img', marker);
        });
        afterEach(async () => {
          expect(await place.backend.describeParent('img')).toMatchObject({ kind: 'sealed' });
          await rm(join(place.directory, 'partial-volumes'), { recursive: true });
          await mkdir(join(place.directory, 'partial-volumes'));
          await place.backend.ensureVolumeAbsent(volumeId);
          await place.backend.ensureImageVolumeAbsent('img');
          expect(await readdir(join(place.directory, 'clones'))).not.toContain('img');
        });

        it('when it has made them itself', async () => {
          await expect(place.backend.ensureImageVolumeAbsent('img')).rejects.toMatchObject(refused);
        });

        it('when an earlier version has made them, or the directory was moved without its notes', async () => {
          await rm(join(place.directory, 'clones'), { recursive: true });
          const backend = await place.reopen();
          await expect(backend.ensureImageVolumeAbsent('img')).rejects.toMatchObject(refused);
        });

        it('when somebody has put an overlay back, after it was listed', async () => {
          await rm(join(place.directory, 'clones', 'img'), { recursive: true });
          expect(await kinds(place.backend)).toEqual(['image-volume', 'volume']);
          await expect(place.backend.ensureImageVolumeAbsent('img')).rejects.toMatchObject(refused);
        });

        it('when one is on its way', async () => {
          const [file] = await readdir(join(place.directory, 'volumes'));
          await rename(
            join(place.directory, 'volumes', file ?? ''),
            join(place.directory, 'partial-volumes', `${volumeId}.clone.partial`),
          );
          await expect(place.backend.ensureImageVolumeAbsent('img')).rejects.toMatchObject(refused);
        });
      });

      it('gives an overlay its name back that an earlier version was replacing, while a guest has it open', async () => {
        const marker = volumeMarker(place);
        const disk = place.diskOf(await place.backend.ensureClone('img', marker));
        const { ino } = await stat(disk.filename);
        const secondName = join(place.directory, 'volumes', `${marker.volumeId}.1-ab-replaced.partial`);
        await rename(disk.filename, secondName);
        await copyFile(secondName, disk.filename);
        const letGo = await holdAsGuest({ ...disk, filename: secondName });
        try {
          const removed = removeFound(place, await objects(place.backend));
          await expect(removed).rejects.toMatchObject({ type: 'VolumeInUse' });
        } finally {
          await letGo();
        }
        expect((await stat(disk.filename)).ino).toBe(ino);
      });

      it('still knows its volumes after QEMU rewrote an overlay header', async () => {
        const marker = volumeMarker(place, { sizeBytes: GROWN_BYTES });
        const { filename } = place.diskOf(await place.backend.ensureClone('img', marker));
        await resizeWithQemu(filename, 2 * GROWN_BYTES);
        expect(await place.backend.describeVolume(marker.volumeId)).toMatchObject({
          kind: 'present',
          sizeBytes: 2 * GROWN_BYTES,
          marker,
        });
      });
    }
  });
}

async function openFilePlace(root: string, installation: InstallationId, clone: CloneSetting): Promise<FilePlace> {
  const directory = join(root, 'backend');
  const open = async (opener = installation) =>
    await createFileBackend({ name, installation: opener, directory, clone });
  return {
    directory,
    installation,
    backend: await open(),
    reopen: open,
    diskOf: (connection) => {
      if (connection.driver !== 'file') throw new Error(`not a file: ${connection.driver}`);
      return { filename: connection.path, format: connection.format };
    },
    parentDiskOf: (parent) => ({ filename: join(directory, 'images', `${parent}.raw`), format: 'raw' }),
    remove: async () => await rm(root, { recursive: true, force: true }),
  };
}

async function modeOf(path: string): Promise<number> {
  return (await stat(path)).mode & 0o777;
}

/** As a writer does that had the file open before it was sealed. */
async function writeBehindTheSeal(path: string): Promise<void> {
  await chmod(path, 0o600);
  await writeAsGuest({ filename: path, format: 'raw' }, { bytes: 512 });
  await chmod(path, 0o400);
}

/** Runs a process that clones, kills it after so many answers, and @returns the volumes it had answered. */
async function cloneUntilKilled(place: FilePlace, answers: number): Promise<string[]> {
  const support = resolve(__dirname, '../support');
  const script = ['--require', join(support, 'register-typescript.cjs'), join(support, 'machine/clone-loop.ts')];
  const args = [place.directory, place.installation, 'img', String(GROWN_BYTES)];
  const child = endWithTest(spawn(process.execPath, [...script, ...args], { stdio: ['ignore', 'pipe', 'inherit'] }));
  const closed = new Promise<NodeJS.Signals | null>((done) => child.once('close', (_, signal) => done(signal)));
  const answered: string[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    answered.push(line);
    if (answered.length === answers) child.kill('SIGKILL');
  }
  expect(await closed).toBe('SIGKILL');
  return answered;
}

async function isIdenticalClone(place: FilePlace, volumeId: string, parent: string): Promise<boolean> {
  const described = await place.backend.describeVolume(brand<VolumeId>(volumeId));
  if (described.kind === 'absent' || described.sizeBytes !== GROWN_BYTES || described.marker === undefined)
    return false;
  return await isSameGuest(place.diskOf(described.connection), { filename: parent, format: 'raw' });
}

async function removeFound(place: FilePlace, found: BackendObject[]): Promise<void> {
  for (const { partial } of found) if (partial) await place.backend.ensureAttemptAbsent(partial);
}

/** The last are those that were on their way. */
function sample<Item>(items: Item[], count: number): Item[] {
  return items.slice(-count);
}

async function resizeWithQemu(path: string, sizeBytes: number): Promise<void> {
  await runCommand('qemu-img', ['resize', '-f', 'qcow2', path, String(sizeBytes)], { timeoutMs: 30_000 });
}
