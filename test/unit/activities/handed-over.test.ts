import { chmod, chown, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { withHandedOver } from '../../../activities/handed-over';

const GROUP = 60_641;
/** Only root can give a file to another group. */
const describeAsRoot = process.getuid?.() === 0 ? describe : describe.skip;

describe('withHandedOver', () => {
  let directory: string;
  let path: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'ivc-handed-'));
    path = join(directory, 'image');
    await writeFile(path, 'bytes', { mode: 0o600 });
  });
  afterEach(async () => {
    await rm(directory, { recursive: true, force: true });
  });
  const rights = async () => {
    const { uid, gid, mode } = await stat(path);
    return { uid, gid, mode: mode & 0o7777 };
  };

  it('changes nothing when the tool runs as this process', async () => {
    const before = await rights();
    await withHandedOver([{ path, writable: true }], undefined, async () => expect(await rights()).toEqual(before));
  });

  it('closes what it has opened when a later file cannot be opened', async () => {
    const missing = withHandedOver([{ path }, { path: join(directory, 'absent') }], undefined, async () => undefined);
    await expect(missing).rejects.toMatchObject({ code: 'ENOENT' });
  });

  describeAsRoot('as root', () => {
    it.each([0o400, 0o600])('lets the group read, and takes that back: mode %o', async (mode) => {
      await chmod(path, mode);
      const before = await rights();
      await withHandedOver([{ path }], GROUP, async () => {
        expect(await rights()).toEqual({ uid: before.uid, gid: GROUP, mode: mode | 0o040 });
      });
      expect(await rights()).toEqual(before);
    });

    it('lets the group write only what is writable, and takes it back when the work fails', async () => {
      const before = await rights();
      const failing = withHandedOver([{ path, writable: true }], GROUP, async () => {
        expect(await rights()).toMatchObject({ gid: GROUP, mode: 0o660 });
        throw new Error('no space');
      });
      await expect(failing).rejects.toThrow('no space');
      expect(await rights()).toEqual(before);
    });

    it('keeps a file handed over until its last user is done', async () => {
      const before = await rights();
      let endFirst = (): void => undefined;
      const firstDone = new Promise<void>((resolve) => (endFirst = resolve));
      const first = withHandedOver([{ path }], GROUP, () => firstDone);
      await withHandedOver([{ path }], GROUP, async () => {
        endFirst();
        await first;
        expect(await rights()).toMatchObject({ gid: GROUP, mode: 0o640 });
      });
      expect(await rights()).toEqual(before);
    });

    it('gives back what a worker that was killed has left handed over', async () => {
      const before = await rights();
      await chown(path, before.uid, GROUP);
      await chmod(path, 0o660);
      await withHandedOver([{ path }], GROUP, async () => expect(await rights()).toMatchObject({ gid: GROUP }));
      expect(await rights()).toEqual(before);
    });
  });
});
