import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findTool, runCommand } from './command';
import { withHandedOver } from './handed-over';

/** What stands between the host and a foreign tool that reads tenants' bytes. */
export interface Confinement {
  /** Stands before the tool's own arguments: programs that take rights away and start the next. */
  argv: readonly string[];
  /** User and group of its own that the tool runs as; undefined: it runs as this process does. */
  userId?: number;
  /** What protects the host, and what cannot here, for people. */
  holds: readonly string[];
  missing: readonly string[];
}

/** Runs nothing but `cat` of one small file. */
const PROBE_TIMEOUT_MS = 5000;
/** The tool dies with the worker that started it, also when that one is killed. */
const dieWithParent = ['--pdeathsig', 'KILL'];
const ownProcesses = ['--pid', '--fork', '--kill-child'];

/**
 * Finds by trying what this host allows, from the strongest down. Asked once, when a worker starts.
 * @param userId an id that owns nothing on this host; undefined: the tool keeps this process' user.
 */
export async function chooseConfinement({ userId }: { userId?: number }): Promise<Confinement> {
  const user = await chooseFirst(userChoices(userId), { argv: [] });
  const isolation = await chooseFirst(isolationChoices(user), user);
  return {
    argv: [...isolation.argv, ...user.argv],
    userId: user.userId,
    holds: [...user.holds, ...isolation.holds],
    missing: [...user.missing, ...isolation.missing, ...missingLimits()],
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
  const noUser = isRoot ? ['a user of its own'] : [];
  const none: Confinement = { argv: [], holds: [], missing: [...noUser, 'no-new-privs'] };
  if (setpriv === undefined) return [none];
  const noNewPrivileges = [setpriv, '--no-new-privs', ...dieWithParent];
  const kept: Confinement = { argv: [...noNewPrivileges, '--'], holds: ['no-new-privs'], missing: noUser };
  if (!isRoot || userId === undefined) return [kept, none];
  const id = String(userId);
  const dropped = ['--reuid', id, '--regid', id, '--clear-groups', '--inh-caps=-all', '--bounding-set=-all'];
  const own: Confinement = {
    argv: [...noNewPrivileges, ...dropped, '--'],
    userId,
    holds: [`user ${id} without capabilities`, 'no-new-privs'],
    missing: [],
  };
  return [own, kept, none];
}

/**
 * Namespaces of util-linux' `unshare`: without a network; without sight of other processes, so that no conversion reaches into another one's open files,
 * and whatever the tool starts is gone when it is. Who is not root needs a user namespace for that.
 */
function isolationChoices({ userId, argv }: Confinement): Confinement[] {
  const missing = ['no network', 'no sight of other processes'];
  const none: Confinement = { argv: [], holds: [], missing };
  const [unshare, setpriv] = [findTool('unshare'), findTool('setpriv')];
  if (unshare === undefined) return [none];
  const outer = setpriv === undefined || argv.length === 0 ? [] : [setpriv, ...dieWithParent, '--'];
  const choices = (flags: string[]): Confinement[] => [
    {
      argv: [...outer, unshare, ...flags, '--net', '--ipc', ...ownProcesses, '--mount-proc', '--'],
      holds: missing,
      missing: [],
    },
    {
      argv: [...outer, unshare, ...flags, '--net', '--ipc', ...ownProcesses, '--'],
      holds: missing.slice(0, 1),
      missing: missing.slice(1),
    },
    { argv: [unshare, ...flags, '--net', '--'], holds: missing.slice(0, 1), missing: missing.slice(1) },
  ];
  const asRoot = process.getuid?.() === 0 ? choices([]) : [];
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
      return (await runCommand('cat', names, options)).stdout === 'readable';
    });
  } catch {
    return false;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
