import { existsSync, readdirSync, readFileSync, readlinkSync, realpathSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { findProcess, type ProcessIdentity } from '../../lib/process-identity';
import { endProcess } from './process-files';

/**
 * Ends every process of a server that its supervisor lost, and removes a lock file whose pid belongs to somebody else
 * by now. All of a server's processes run PostgreSQL's program and work in its data directory, which tells them from
 * any other server's, and from the shell or the editor of an administrator who looks around there. Only the holder of
 * the data directory's lock may call this.
 */
export async function endPostgresLeftovers(data: string): Promise<void> {
  if (!existsSync(data)) return;
  const processes = findProcessesIn(realpathSync(data));
  const postmaster = processes.find(({ pid }) => pid === postmasterPid(data));
  if (postmaster) await endProcess(postmaster, ['SIGINT', 'SIGQUIT', 'SIGKILL']);
  // A backend that outlives its postmaster would write beside the next one's backends.
  await Promise.all(findProcessesIn(realpathSync(data)).map((orphan) => endProcess(orphan, ['SIGQUIT', 'SIGKILL'])));
  rmSync(join(data, 'postmaster.pid'), { force: true });
}

function postmasterPid(data: string): number | undefined {
  const path = join(data, 'postmaster.pid');
  return existsSync(path) ? Number.parseInt(readFileSync(path, 'utf8'), 10) : undefined;
}

function findProcessesIn(directory: string): ProcessIdentity[] {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  return pids.flatMap((pid) => {
    if (linkOf(pid, 'cwd') !== directory || !isPostgres(linkOf(pid, 'exe'))) return [];
    return findProcess(Number(pid)) ?? [];
  });
}

/** An upgrade may have replaced the file meanwhile, which the kernel writes behind its name. */
function isPostgres(program: string | undefined): boolean {
  return program !== undefined && basename(program.replace(/ \(deleted\)$/, '')) === 'postgres';
}

/** Undefined for processes that are gone, or that we may not read. */
function linkOf(pid: string, name: 'cwd' | 'exe'): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/${name}`);
  } catch {
    return undefined;
  }
}
