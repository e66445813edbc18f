import { createToolGuard, type ToolGuard } from '../activities/image/tool-guard';
import type { ResolvedConfig } from '../client/config/load';

/** How qemu-img is run on this host, as the configuration says and the host allows. */
export async function openToolGuard({ tools }: ResolvedConfig): Promise<ToolGuard> {
  return await createToolGuard({
    userId: tools.user === 'none' ? undefined : tools.user,
    timeoutMs: tools.wallClock,
    cpuMs: tools.cpuTime,
    addressSpaceBytes: tools.addressSpace,
    openFiles: tools.openFiles,
  });
}
