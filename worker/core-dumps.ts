import { findTool, runCommand } from '../activities/command';

const TIMEOUT_MS = 10_000;

/** The log's message where they cannot be forbidden. */
export const CORES_REMAIN = 'a crash may leave a core file with secrets in it: install prlimit (util-linux)';

/**
 * Lets this process, and what it starts, leave no core file when they crash: there would be tokens, passwords and keys in it. For good, since the hard
 * limit goes too. Before any of those is read. Idempotent.
 * @returns false where the tool for it is not installed. @throws Failure ToolFailed.
 */
export async function forbidCoreDumps(): Promise<boolean> {
  if (findTool('prlimit') === undefined) return false;
  await runCommand('prlimit', ['--pid', String(process.pid), '--core=0:0'], { timeoutMs: TIMEOUT_MS });
  return true;
}
