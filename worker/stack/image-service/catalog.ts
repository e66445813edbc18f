import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { storedImageSchema, timestamp, type RecordedImage } from './record';
import { syncPath } from '../../../lib/files';

/** The records of all images, in memory and on disk; each change is durable before it is answered. */
export interface Catalog {
  /** @returns undefined for what never was or was deleted. */
  find(id: string): RecordedImage | undefined;
  /** @returns whether the id was ever used. */
  isTaken(id: string): boolean;
  /** Of an image that is created now. */
  nextSequence(): number;
  /** Newest first, as Glance sorts by default. */
  all(): RecordedImage[];
  put(image: RecordedImage): Promise<void>;
  /** Changes some fields and moves `updated_at`. @returns undefined when the image is gone. */
  change(id: string, fields: Partial<RecordedImage>): Promise<RecordedImage | undefined>;
  /** Where an image's bytes are, or will be. */
  dataPath(id: string): string;
}

const PART = '.part';

/** Opens the catalogue of `directory`; uploads that a crash cut are queued again and their parts removed. */
export async function openCatalog(directory: string): Promise<Catalog> {
  const records = join(directory, 'records');
  const data = join(directory, 'data');
  for (const path of [directory, records, data]) await mkdir(path, { recursive: true, mode: 0o700 });
  await removeParts(records);
  await removeParts(data);
  const images = await loadRecords(records);
  let sequence = Math.max(0, ...[...images.values()].map((image) => image.sequence));

  const put = async (image: RecordedImage): Promise<void> => {
    images.set(image.id, image);
    await writeDurably(join(records, `${image.id}.json`), JSON.stringify(image));
    await syncPath(records);
  };
  const find = (id: string): RecordedImage | undefined => {
    const image = images.get(id);
    return image?.status === 'deleted' ? undefined : image;
  };

  return {
    find,
    isTaken: (id) => images.has(id),
    nextSequence: () => (sequence += 1),
    all: () =>
      [...images.values()].filter(({ status }) => status !== 'deleted').sort((a, b) => b.sequence - a.sequence),
    put,
    change: async (id, fields) => {
      const image = find(id);
      if (image === undefined) return undefined;
      const changed = { ...image, ...fields, updated_at: timestamp() };
      await put(changed);
      return changed;
    },
    dataPath: (id) => join(data, id),
  };
}

/** @returns a name beside `path` for what is not complete yet. */
export function partPath(path: string, attempt: string): string {
  return `${path}.${attempt}${PART}`;
}

async function removeParts(directory: string): Promise<void> {
  for (const name of await readdir(directory))
    if (name.endsWith(PART)) await rm(join(directory, name), { force: true });
}

async function loadRecords(directory: string): Promise<Map<string, RecordedImage>> {
  const images = new Map<string, RecordedImage>();
  for (const name of await readdir(directory)) {
    if (!name.endsWith('.json')) continue;
    const image = storedImageSchema.parse(JSON.parse(await readFile(join(directory, name), 'utf8')));
    images.set(image.id, image.status === 'saving' ? { ...image, status: 'queued' } : image);
  }
  return images;
}

let writes = 0;

async function writeDurably(path: string, text: string): Promise<void> {
  writes += 1;
  const part = partPath(path, `${process.pid}-${writes}`);
  const handle = await open(part, 'w', 0o600);
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(part, path);
}
