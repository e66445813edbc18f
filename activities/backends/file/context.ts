import type { BackendName, InstallationId } from '../../../workflows/contract/ids';
import type { Layout } from './layout';

/** Shared by every operation of one file backend. */
export interface FileBackendContext {
  name: BackendName;
  installation: InstallationId;
  layout: Layout;
  /** Of the claim that was found when the backend was opened. */
  placeId: string;
  method: 'reflink' | 'overlay';
  /** `getSealedParent` for clones: those that begin at the same moment share one check. */
  checkParent(name: string): Promise<{ virtualBytes: number }>;
}
