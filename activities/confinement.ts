import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findTool, runCommand } from './command';
import { emptyViewArgv } from './empty-view';
import { withHandedOver } from './handed-over';
import { seccompArgv } from './seccomp-filter';

/** Protection of the host from a foreign tool that reads tenants' bytes. */
export interface Confinement {
  /** Stands before the tool's own arguments: programs that take rights away and start the next. */
  argv: readonly string[];
  /** User and group of its own that the tool runs as; undefined: it runs as this process does. */
  userId?: number;
  /** Protections of the host, and those impossible here, for people. */
  holds: readonly string[];
  missing: readonly string[];
}

/** Runs nothing but `cat` of one small file, and `qemu-img` for its version. */
const PROBE_TIMEOUT_MS = 5000;
/** The tool dies with the worker that started it, also when that one is killed. */
const dieWithParent = ['--pdeathsig', 'KILL'];
const ownProcesses = ['--pid', '--fork', '--kill-child'];
/** Of all conversions of a host together; each has some dozens of threads. */
const MAX_PROCESSES = 4096;
const PROCESSES = 'a limit of processes';
const CALLS = 'no io_uring and other system calls that it does not need';

/**
 * Finds by trying what this host allows, from the strongest down. Asked once, when a worker starts.
 * @param userId an id that owns nothing on this host; undefined: the tool keeps this process' user.
 */
export async function chooseConfinement({ userId }: { userId?: number }): Promise<Confinement> {
  const user = await chooseFirst(userChoices(userId), { argv: [] });
  const calls = await chooseFirst(callChoices(user), { argv: [], userId: user.userId });
  const inner = { argv: calls.argv, userId: user.userId };
  const isolation = await chooseFirst(isolationChoices(inner), inner);
  return {
    argv: [...isolation.argv, ...inner.argv],
    userId: user.userId,
    holds: [...user.holds, ...calls.holds, ...isolation.holds],
    missing: [...user.missing, ...isolation.missing, ...calls.missing, ...missingLimits()],
  };
}

/** @returns one line for a log. */
export function describeConfinement({ holds, missing }: Confinement): string {
  const protects = `what protects the host from qemu-img here: ${holds.length === 0 ? 'nothing' : holds.join(', ')}`;
  return missing.length === 0 ? protects : `${protects}; missing: ${missing.join(', ')}`;
}

function userChoices(userId: number | undefined): Confinement[] {
  const setpriv = findTool('setpriv');
  const isRoot = process.getuid?.() === 0;
  const noUser = [...(isRoot ? ['a user of its own'] : []), PROCESSES];
  const none: Confinement = { argv: [], holds: [], missing: [...noUser, 'no-new-privs'] };
  if (setpriv === undefined) return [none];
  const noNewPrivileges = [setpriv, '--no-new-privs', ...dieWithParent];
  const kept: Confinement = { argv: [...noNewPrivileges, '--'], holds: ['no-new-privs'], missing: noUser };
  if (!isRoot || userId === undefined) return [kept, none];
  const id = String(userId);
  const dropped = ['--reuid', id, '--regid', id, '--clear-groups', '--inh-caps=-all', '--bounding-set=-all'];
  // The kernel counts by user: a limit for the worker's own would count its owner's other processes.
  const prlimit = findTool('prlimit');
  const limited = prlimit === undefined ? [] : [prlimit, `--nproc=${MAX_PROCESSES}`, '--'];
  const own: Confinement = {
    argv: [...limited, ...noNewPrivileges, ...dropped, '--'],
    userId,
    holds: [`user ${id} without capabilities`, 'no-new-privs', ...(prlimit === undefined ? [] : [PROCESSES])],
    missing: prlimit === undefined ? [PROCESSES] : [],
  };
  return [own, kept, none];
}

/** System calls are closed last, when nothing is left to do with them: after what `user` takes away, without which nobody but root may close any. */
function callChoices({ argv }: Confinement): Confinement[] {
  const none: Confinement = { argv, holds: [], missing: [CALLS] };
  const perl = findTool('perl');
  const closing = perl === undefined ? undefined : seccompArgv(perl);
  // A filter needs no-new-privs.
  if (closing === undefined || argv.length === 0) return [none];
  return [{ argv: [...argv, ...closing], holds: [CALLS], missing: [] }, none];
}

/**
 * Namespaces of util-linux' `unshare`: without a network; without sight of other processes, so that no conversion reaches into another one's open files,
 * and whatever the tool starts is gone when it is. A process that is not root needs a user namespace for that.
 */
function isolationChoices({ userId, argv }: Pick<Confinement, 'argv' | 'userId'>): Confinement[] {
  const missing = ['no network', 'no sight of other processes', 'no sight of files that are not handed over'];
  const none: Confinement = { argv: [], holds: [], missing };
  const [unshare, setpriv] = [findTool('unshare'), findTool('setpriv')];
  if (unshare === undefined) return [none];
  const outer = setpriv === undefined || argv.length === 0 ? [] : [setpriv, ...dieWithParent, '--'];
  const perl = findTool('perl');
  const view = perl === undefined ? undefined : emptyViewArgv(perl);
  const withProc = [...outer, unshare, '--mount', '--net', '--ipc', ...ownProcesses, '--mount-proc', '--'];
  const withView = view === undefined ? [] : [{ argv: [...withProc, ...view], holds: missing, missing: [] }];
  const choices = (flags: string[]): Confinement[] => [
    {
      argv: [...outer, unshare, ...flags, '--net', '--ipc', ...ownProcesses, '--mount-proc', '--'],
      holds: missing.slice(0, 2),
      missing: missing.slice(2),
    },
    {
      argv: [...outer, unshare, ...flags, '--net', '--ipc', ...ownProcesses, '--'],
      holds: missing.slice(0, 1),
      missing: missing.slice(1),
    },
    { argv: [unshare, ...flags, '--net', '--'], holds: missing.slice(0, 1), missing: missing.slice(1) },
  ];
  // Only root may mount, until it drops to the tool's user.
  const asRoot = process.getuid?.() === 0 ? [...(userId === undefined ? [] : withView), ...choices([])] : [];
  // A user namespace of one user has no other user to drop to.
  const asUser = userId === undefined ? choices(['--user', '--map-current-user']) : [];
  return [...asRoot, ...asUser, none];
}

function missingLimits(): string[] {
  return findTool('prlimit') === undefined ? ['limits of processor time, memory and file size'] : [];
}

/** The last choice takes no rights away and is not tried. `inner` stands between the choice and the tool. */
async function chooseFirst(
  choices: readonly Confinement[],
  inner: Pick<Confinement, 'argv' | 'userId'>,
): Promise<Confinement> {
  for (const choice of choices.slice(0, -1)) {
    const { userId = choice.userId } = inner;
    if (await works({ ...choice, argv: [...choice.argv, ...inner.argv], userId })) return choice;
  }
  const [last] = choices.slice(-1);
  if (last === undefined) throw new Error('nothing to choose from');
  return last;
}

/** Reads a private file the way that qemu-img will. */
async function works(confinement: Confinement): Promise<boolean> {
  const directory = await mkdtemp(join(tmpdir(), 'image-volume-cache-probe-'));
  try {
    const path = join(directory, 'probe');
    await writeFile(path, 'readable', { mode: 0o600 });
    return await withHandedOver([{ path }], confinement.userId, async ({ descriptors, names }) => {
      const options = { timeoutMs: PROBE_TIMEOUT_MS, confinement, descriptors };
      // The tool itself may be where the confined see nothing.
      if (findTool('qemu-img') !== undefined)
        await runCommand('qemu-img', ['--version'], { ...options, descriptors: [] });
      return (await runCommand('cat', names, options)).stdout === 'readable';
    });
  } catch {
    return false;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
