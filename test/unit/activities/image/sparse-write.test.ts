import { randomBytes } from 'node:crypto';
import { mkdtemp, open, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { appendSparse } from '../../../../activities/image/sparse-write';
import { KiB, MiB } from '../../../../workflows/contract/bytes';

let directory: string;
let path: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sparse-'));
  path = join(directory, 'file');
});

afterEach(() => rm(directory, { recursive: true, force: true }));

/** @returns whether the file has at each moment been as long as what came, and holds it at the end. */
async function append(pieces: Buffer[]): Promise<boolean> {
  const handle = await open(path, 'w');
  let position = 0;
  let isAsLong = true;
  for (const view of pieces) {
    await appendSparse(handle, { view, position });
    position += view.length;
    isAsLong &&= (await handle.stat()).size === position;
  }
  await handle.close();
  return isAsLong && (await readFile(path)).equals(Buffer.concat(pieces));
}

describe('appendSparse', () => {
  it('writes the bytes that came, wherever zeros are among them', async () => {
    const data = (bytes: number): Buffer => randomBytes(bytes);
    const zeros = (bytes: number): Buffer => Buffer.alloc(bytes);
    const isKept = await append([
      Buffer.concat([zeros(64 * KiB), data(64 * KiB), zeros(200 * KiB), data(5)]),
      zeros(64 * KiB + 1),
      Buffer.concat([data(1), zeros(128 * KiB)]),
      Buffer.concat([zeros(64 * KiB - 1), data(1), zeros(7)]),
      zeros(3),
    ]);
    expect(isKept).toBe(true);
  });

  it('takes no space for zeros', async () => {
    expect(await append([Buffer.alloc(4 * MiB), randomBytes(64 * KiB), Buffer.alloc(4 * MiB)])).toBe(true);
    expect((await stat(path)).blocks * 512).toBeLessThan(MiB);
  });
});
