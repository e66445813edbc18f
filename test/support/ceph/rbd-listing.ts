import { waitFor } from '../../../worker/stack/wait';
import type { BackendListing } from '../every-step/listing';
import type { CephCluster } from './cluster';

const LIST_TIMEOUT_MS = 30_000;

/** @param namespace of the pool `volumes`, whose names are the templates by default. */
export function listNamespace(ceph: CephCluster, namespace: string): BackendListing {
  const place = `volumes/${namespace}`;
  const imagesOf = async (pattern: RegExp): Promise<string[]> =>
    (await ceph.rbd(['ls', place])).split('\n').flatMap((name) => pattern.exec(name)?.[1] ?? []);
  const volumes = () => imagesOf(/^volume-([0-9a-f-]{36})$/);
  const snapshotsOf = async (volumeId: string): Promise<string[]> => {
    const list = async (): Promise<string | undefined> => {
      if (!(await volumes()).includes(volumeId)) return '[]';
      // The tool may print nothing, as if all were well, while a snapshot is made or removed.
      const text = await ceph.rbd(['snap', 'ls', '--format', 'json', `${place}/volume-${volumeId}`]);
      return text === '' ? undefined : text;
    };
    const text = await waitFor(list, { what: `the snapshots of volume ${volumeId}`, deadlineMs: LIST_TIMEOUT_MS });
    return (JSON.parse(text) as { name: string }[]).map(({ name }) => name.replace(/^snapshot-/, ''));
  };
  return {
    volumes,
    snapshots: async () => (await Promise.all((await volumes()).map(snapshotsOf))).flat(),
    imageVolumes: async () => (await imagesOf(/^image-(.*)$/)).map((key) => `image-volume-${key}`),
    snapshotsOf,
    unfinished: () => imagesOf(/(.*\.partial)$/),
  };
}
