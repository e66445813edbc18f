import { copyFileSync, readdirSync, readFileSync, statSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { reconcile } from '../../../client/reconcile';
import { warmCache } from '../../../client/refresh';
import type { CreateVolumeResult } from '../../../workflows/contract/volume';
import { MiB } from '../../../workflows/contract/bytes';
import type { Finding, ReconcileInput, ReconcileResult } from '../../../workflows/contract/reconcile';
import type { FlowStack, UploadedImage } from './flows';
import { type EntryRow } from '../../../db/schema';

const IMAGE_BYTES = 2 * MiB;

/** Helpers that tests of the reconciler use most often. */
export function reconcileFlows(flow: FlowStack) {
  let made = 0;
  const upload = async (): Promise<UploadedImage> => {
    made += 1;
    return await flow.upload(`reconcile-${made}`, { diskFormat: 'raw', virtualBytes: IMAGE_BYTES });
  };
  const look = async (input: Partial<ReconcileInput> = {}): Promise<ReconcileResult> => {
    const { result } = await reconcile(flow.stack.cache, { backend: flow.stack.backend, ...input }, { wait: true });
    return result;
  };
  const inBackend = (...path: string[]): string => join(flow.stack.volumesDirectory, ...path);
  return {
    upload,
    look,
    inBackend,
    /** A volume, its image and the entry that it was cloned from. */
    makeVolume: async (): Promise<UploadedImage & { volume: CreateVolumeResult; entry: EntryRow }> => {
      const uploaded = await upload();
      const volume = await flow.create(uploaded.image);
      const [entry] = await flow.entriesOf(uploaded.image);
      if (entry === undefined) throw new Error('nothing was cached');
      return { ...uploaded, volume, entry };
    },
    /** An entry that no clone holds. */
    makeEntry: async (): Promise<UploadedImage & { entry: EntryRow }> => {
      const uploaded = await upload();
      const { cache, backend } = flow.stack;
      await warmCache(cache, { imageIds: [uploaded.image.id], backends: [backend] }, { wait: true });
      const [entry] = await flow.entriesOf(uploaded.image);
      if (entry === undefined) throw new Error('nothing was cached');
      return { ...uploaded, entry };
    },
    /** Everything in the backend's place: names, sizes, times. */
    files: (): string[] =>
      ['.', 'volumes', 'images'].flatMap((folder) =>
        readdirSync(inBackend(folder)).map((name) => {
          const { size, mtimeMs } = statSync(inBackend(folder, name));
          return `${folder}/${name} ${size} ${folder === '.' ? '' : mtimeMs}`;
        }),
      ),
    /** Every row of volumes and entries as text. */
    rows: async (): Promise<string[]> => {
      const { sql } = flow.stack.database;
      const all = await sql<{ row: string }[]>`
        select v::text as row from volumes v union all select e::text from cache_entries e order by 1`;
      return all.map(({ row }) => row);
    },
    /** Puts files away. @returns what puts them back as they were. */
    save: (...names: string[][]): (() => void) => {
      const saved = names.map((path) => {
        const from = inBackend(...path);
        const copy = join(flow.directory, `saved-${path.join('-')}`);
        copyFileSync(from, copy);
        const { atime, mtime } = statSync(from);
        return { from, copy, atime, mtime };
      });
      return () => {
        for (const { from, copy, atime, mtime } of saved) {
          copyFileSync(copy, from);
          utimesSync(from, atime, mtime);
        }
      };
    },
    pathOf: ({ connection }: Pick<CreateVolumeResult, 'connection'>): string => {
      if (connection.driver !== 'file') throw new Error(`unexpected driver ${connection.driver}`);
      return connection.path;
    },
    bytesOf: (path: string): string => readFileSync(path).toString('base64'),
  };
}

/** @returns what was done about the finding of an object. */
export function actionOn({ findings }: ReconcileResult, object: string): Finding['action'] | undefined {
  return findings.find((finding) => finding.object === object)?.action;
}
