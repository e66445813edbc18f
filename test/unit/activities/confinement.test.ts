import { spawn } from 'node:child_process';
import { chmod, mkdtemp, readFile, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { findTool, runCommand, type CommandOptions } from '../../../activities/command';
import { chooseConfinement, describeConfinement, type Confinement } from '../../../activities/confinement';
import { withHandedOver } from '../../../activities/handed-over';
import { GiB } from '../../../workflows/contract/bytes';
import { checkout } from '../../support/machine/checkout';
import { endWithTest } from '../../support/machine/test-process';

const USER = 60_641;
const describeAsRoot = process.getuid?.() === 0 ? describe : describe.skip;
const timeoutMs = 20_000;
const registerTypescript = resolve(__dirname, '../../support/register-typescript.cjs');

describe('chooseConfinement', () => {
  let directory: string;
  let confinement: Confinement;
  beforeAll(async () => {
    confinement = await chooseConfinement({ userId: USER });
  });
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'ivc-confined-'));
  });
  afterEach(async () => {
    await rm(directory, { recursive: true, force: true });
  });
  const run = async (tool: string, args: string[], options: Partial<CommandOptions> = {}) =>
    (await runCommand(tool, args, { timeoutMs, confinement, ...options })).stdout;
  const privateFile = async (name: string) => {
    const path = join(directory, name);
    await writeFile(path, 'mine', { mode: 0o600 });
    return path;
  };
  const status = async (given: Partial<CommandOptions> = {}) =>
    Object.fromEntries(
      [...(await run('cat', ['/proc/self/status'], given)).matchAll(/^(\w+):\s+(.*)$/gm)].map(([, key, value]) => [
        key,
        value?.trim(),
      ]),
    );

  it('lets the tool gain no rights', async () => {
    expect(await status()).toMatchObject({ NoNewPrivs: '1' });
  });

  it('gives the tool no network: no interface, no route, and no way to a server on this host', async () => {
    const devices = (await run('cat', ['/proc/self/net/dev'])).split('\n').slice(2).filter(Boolean);
    expect(devices.map((line) => line.trim().split(':')[0])).toEqual(['lo']);
    expect((await run('cat', ['/proc/self/net/route'])).split('\n').slice(1).join('').trim()).toBe('');
    const server = createServer().listen(0, '127.0.0.1');
    await new Promise((listening) => server.once('listening', listening));
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('no port');
    const connect = `my $peer = IO::Socket::INET->new(PeerAddr => "127.0.0.1", PeerPort => ${address.port}); print $peer ? "connected" : $!`;
    try {
      expect(await run('perl', ['-MIO::Socket::INET', '-e', connect])).toMatch(/unreachable|Cannot assign/);
    } finally {
      await new Promise((closed) => server.close(closed));
    }
  });

  it('shows the tool no process but its own', async () => {
    const processes = (await run('ls', ['/proc'])).split('\n').filter((name) => /^\d+$/.test(name));
    expect(processes).toEqual(['1']);
  });

  it('closes io_uring, other namespaces, tracing and rare families of sockets to the tool, and leaves it what it needs', async () => {
    expect(await status()).toMatchObject({ Seccomp: '2' });
    expect(confinement.holds).toContain('no io_uring and other system calls that it does not need');
    const calls =
      process.arch === 'arm64' ? { socket: 198, ptrace: 117, unshare: 97 } : { socket: 41, ptrace: 101, unshare: 272 };
    const attempt = `sub attempt { my ($name, $call, @given) = @_; $! = 0; syscall($call, @given); print "$name: $!\\n" }
      attempt("io_uring_setup", 425, 1, 0); attempt("clone3", 435, 0, 0); attempt("ptrace", ${calls.ptrace}, 0, 0, 0, 0);
      attempt("unshare", ${calls.unshare}, 0x10000000); attempt("vsock", ${calls.socket}, 40, 1, 0); attempt("inet", ${calls.socket}, 2, 1, 0);`;
    const said = (await run('perl', ['-e', attempt]))
      .trim()
      .split('\n')
      .map((line) => line.trim());
    expect(said).toEqual([
      'io_uring_setup: Function not implemented',
      'clone3: Function not implemented',
      'ptrace: Function not implemented',
      'unshare: Function not implemented',
      'vsock: Address family not supported by protocol',
      'inet:',
    ]);
  });

  it('sets the limits on the tool itself', async () => {
    const limits = { cpuSeconds: 77, addressSpaceBytes: 2 * GiB, fileSizeBytes: GiB, openFiles: 48 };
    const lines = (await run('cat', ['/proc/self/limits'], { limits })).split('\n');
    const limitOf = (name: string) =>
      lines
        .find((line) => line.startsWith(name))
        ?.slice(26)
        .trim()
        .split(/\s+/)
        .slice(0, 2);
    expect(limitOf('Max cpu time')).toEqual(['77', '77']);
    expect(limitOf('Max address space')).toEqual([String(2 * GiB), String(2 * GiB)]);
    expect(limitOf('Max file size')).toEqual([String(GiB), String(GiB)]);
    expect(limitOf('Max open files')).toEqual(['48', '48']);
    expect(limitOf('Max core file size')).toEqual(['0', '0']);
  });

  it('opens a private file to the tool that is handed over', async () => {
    const path = await privateFile('given');
    await withHandedOver([{ path }], confinement.userId, async ({ descriptors, names }) => {
      expect(await run('cat', names, { descriptors })).toBe('mine');
    });
  });

  it('keeps exit codes, and cleans stderr of paths', async () => {
    const failed = run('sh', ['-c', 'echo "bad /srv/images/disk.raw" >&2; exit 3']);
    await expect(failed).rejects.toMatchObject({ details: { exit: 'exit 3', stderr: 'bad disk.raw' } });
  });

  it('ends a tool that has spent its processor time', async () => {
    const spinning = run('perl', ['-e', '1 while 1'], { limits: { cpuSeconds: 1 } });
    await expect(spinning).rejects.toMatchObject({ type: 'ToolFailed' });
  });

  it('leaves nothing of a tool that has started processes in groups of their own', async () => {
    const left = `if (!fork) { setsid(); open STDOUT, ">", "/dev/null"; open STDERR, ">", "/dev/null"; exec "sleep", "87.${process.pid}" }`;
    expect(await run('perl', ['-MPOSIX=setsid', '-e', left])).toBe('');
    expect(await isRunning(`87.${process.pid}`)).toBe(false);
    const stays = `$| = 1; ${left.replaceAll('87.', '88.')} print 'ready'; sleep 1 while 1;`;
    const abort = new AbortController();
    const onOutput = (): void => abort.abort(new Error('cancelled'));
    await expect(run('perl', ['-MPOSIX=setsid', '-e', stays], { signal: abort.signal, onOutput })).rejects.toThrow(
      'cancelled',
    );
    await until(async () => !(await isRunning(`88.${process.pid}`)));
  });

  it('does with what is installed, and says what is missing', async () => {
    const path = process.env['PATH'];
    const [cat, setpriv] = [findTool('cat'), findTool('setpriv')];
    if (cat === undefined || setpriv === undefined) throw new Error('cat and setpriv are needed');
    await chmod(directory, 0o755);
    await symlink(cat, join(directory, 'cat'));
    process.env['PATH'] = directory;
    try {
      const bare = await chooseConfinement({ userId: USER });
      expect(bare).toMatchObject({ argv: [], holds: [] });
      expect(describeConfinement(bare)).toMatch(/here: nothing; missing: .*no-new-privs, no network, .*limits/);
      await symlink(setpriv, join(directory, 'setpriv'));
      const some = await chooseConfinement({ userId: USER });
      expect(some.holds).toContain('no-new-privs');
      expect(some.missing).toContain('no network');
    } finally {
      process.env['PATH'] = path;
    }
  });

  it('says what protects the host', () => {
    expect(describeConfinement(confinement)).toMatch(/^what protects the host from qemu-img here: .*no network/);
  });

  it('ends the tool when the worker that started it is killed', async () => {
    const script = join(directory, 'worker.ts');
    const command = resolve(__dirname, '../../../activities/command');
    await writeFile(
      script,
      `import { runCommand } from ${JSON.stringify(command)};
       void runCommand('sleep', ['89.${process.pid}'], { timeoutMs: 60_000, confinement: ${JSON.stringify(confinement)} });`,
    );
    const worker = endWithTest(
      spawn(process.execPath, ['--require', registerTypescript, script], { stdio: 'inherit' }),
    );
    await until(async () => await isRunning(`89.${process.pid}`, 'sleep'));
    worker.kill('SIGKILL');
    await until(async () => !(await isRunning(`89.${process.pid}`)));
    expect(await isRunning(`89.${process.pid}`)).toBe(false);
  });

  describeAsRoot('as root', () => {
    it('drops to the given user without groups and capabilities', async () => {
      const ids = Array(4).fill(String(USER)).join('\t');
      expect(await status()).toMatchObject({
        Uid: ids,
        Gid: ids,
        CapInh: '0'.repeat(16),
        CapPrm: '0'.repeat(16),
        CapEff: '0'.repeat(16),
        CapBnd: '0'.repeat(16),
        CapAmb: '0'.repeat(16),
      });
      expect((await run('cat', ['/proc/self/status'])).match(/^Groups:\s*$/m)).not.toBeNull();
    });

    it('shows the tool nothing but programs and libraries, and nothing that it can write', async () => {
      const seen = (await run('ls', ['/'])).trim().split('\n');
      expect(seen).toEqual(expect.arrayContaining(['etc', 'proc', 'usr']));
      // npm puts programs of the checkout on the PATH, wherever it lies.
      const hidden = ['home', 'root', 'run', 'srv', 'tmp', 'var'].filter((name) => !checkout.startsWith(`/${name}/`));
      for (const name of hidden) expect(seen).not.toContain(name);
      expect((await run('ls', ['/etc', '/dev'])).split('\n').filter(Boolean)).toEqual([
        '/dev:',
        'null',
        '/etc:',
        'alternatives',
        'ld.so.cache',
      ]);
      for (const path of ['/made', '/usr/made', '/dev/made'])
        await expect(run('touch', [path])).rejects.toMatchObject({ type: 'ToolFailed' });
    });

    it('lets the tool and all of its user have so many processes and no more', async () => {
      const line = (await run('cat', ['/proc/self/limits']))
        .split('\n')
        .find((each) => each.startsWith('Max processes'));
      expect(line).toMatch(/^Max processes +4096 +4096/);
    });

    it('keeps the user when none is given, and says so', async () => {
      const kept = await chooseConfinement({});
      expect(await status({ confinement: kept })).toMatchObject({ Uid: '0\t0\t0\t0', NoNewPrivs: '1' });
      expect(describeConfinement(kept)).toContain('missing: a user of its own');
    });

    it('lets the tool neither write what it may only read, nor open what is not handed over', async () => {
      const [path, kept] = [await privateFile('given'), await privateFile('kept')];
      const denied = { details: { stderr: expect.stringContaining('Permission denied') } };
      await withHandedOver([{ path }], confinement.userId, async ({ descriptors, names: [name = ''] }) => {
        await expect(run('dd', ['if=/dev/null', `of=${name}`], { descriptors })).rejects.toMatchObject(denied);
      });
      const absent = { details: { stderr: expect.stringContaining('No such file or directory') } };
      await expect(run('cat', [kept])).rejects.toMatchObject(absent);
    });
  });
});

/** Whether a process has `argument` among its arguments, and `tool` as its first. */
async function isRunning(argument: string, tool?: string): Promise<boolean> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const lines = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')));
  const argvs = lines.map((line) => line.split('\0'));
  return argvs.some((argv) => argv.includes(argument) && (tool === undefined || argv[0]?.endsWith(tool) === true));
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 10_000;
  while (!(await condition())) if (Date.now() > deadline) throw new Error('it never came true');
}
