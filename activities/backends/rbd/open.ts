import { Failure } from '../../../workflows/contract/failures';
import type { RbdCluster, RbdPool } from './cluster';
import { LibraryMissing, openLibraryCluster } from './library';
import { hasRbdTools, openToolCluster } from './tool';

/**
 * Opens a pool by librbd in process, or, where `access` is `auto` and the library is not installed, by the `rbd` tool, which starts a process for each step.
 * @throws BackendUnavailable which says what to install.
 */
export async function openRbdCluster(
  pool: RbdPool,
  { access, backend }: { access: 'auto' | 'library' | 'tool'; backend: string },
): Promise<RbdCluster> {
  const missing = (what: string): Failure =>
    new Failure('BackendUnavailable', { backend, cause: `${what}; install ceph-common, which brings both` });
  const byTool = (): RbdCluster => {
    if (!hasRbdTools()) throw missing('neither librbd nor the rbd tool is installed');
    return openToolCluster(pool);
  };
  if (access === 'tool') return byTool();
  const library = openLibraryCluster(pool);
  try {
    await library.identify();
    return library;
  } catch (error) {
    // Any other error is told by the first step that needs the cluster.
    if (!(error instanceof LibraryMissing)) return library;
    if (access === 'library') throw missing(error.message);
    return byTool();
  }
}
