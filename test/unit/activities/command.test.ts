import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cleanStderr, runCommand } from '../../../activities/command';
import { commandsStarted } from '../../support/machine/commands-started';
import { MiB } from '../../../workflows/contract/bytes';

const timeoutMs = 20_000;
/** Node itself is the foreign tool: it is there wherever the tests are. */
const node = async (script: string, options: Partial<Parameters<typeof runCommand>[2]> = {}) =>
  await runCommand('node', ['-e', script], { timeoutMs, ...options });

describe('runCommand', () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'ivc-command-'));
  });
  afterEach(async () => {
    await rm(directory, { recursive: true, force: true });
  });

  it('returns what the tool wrote, and counts the process', async () => {
    const before = commandsStarted();
    expect(await node('process.stdout.write("out"); process.stderr.write("err")')).toEqual({
      exitCode: 0,
      stdout: 'out',
      stderr: 'err',
    });
    expect(commandsStarted()).toBe(before + 1);
  });

  it('passes arguments as they are, without a shell', async () => {
    const odd = ['$HOME', '`id`', '; exit 3', '*', 'a b', '"'];
    const { stdout } = await runCommand(
      'node',
      ['-e', 'console.log(JSON.stringify(process.argv.slice(1)))', '--', ...odd],
      { timeoutMs },
    );
    expect(JSON.parse(stdout)).toEqual(odd);
  });

  it('gives the tool nothing of our environment but PATH, and the C locale', async () => {
    process.env['IVC_TEST_SECRET'] = 'secret';
    const { stdout } = await node('console.log(JSON.stringify(process.env))').finally(
      () => delete process.env['IVC_TEST_SECRET'],
    );
    expect(JSON.parse(stdout)).toEqual({ LC_ALL: 'C', TZ: 'UTC', PATH: process.env['PATH'] });
  });

  it('says which exit the tool made, with its stderr cleaned of directories', async () => {
    const failed = node('console.error("Could not open /srv/data/images/disk.raw: bad"); process.exit(3)');
    await expect(failed).rejects.toMatchObject({
      type: 'ToolFailed',
      details: { tool: 'node', exit: 'exit 3', stderr: 'Could not open disk.raw: bad' },
    });
  });

  it('takes the exits that it is told are answers', async () => {
    expect(await node('process.exit(1)', { answers: [0, 1] })).toMatchObject({ exitCode: 1 });
  });

  it('says that a tool is not installed, with and without limits', async () => {
    const before = commandsStarted();
    for (const limits of [undefined, { openFiles: 64 }]) {
      const missing = runCommand('no-such-tool-anywhere', [], { timeoutMs, limits });
      await expect(missing).rejects.toMatchObject({
        type: 'ToolFailed',
        details: { tool: 'no-such-tool-anywhere', exit: 'not installed' },
      });
    }
    expect(commandsStarted()).toBe(before);
  });

  it('kills the tool and what it has started at the deadline, and returns when they are gone', async () => {
    const pids = join(directory, 'pids');
    const killed = node(familyScript(pids), { timeoutMs: 1500 });
    await expect(killed).rejects.toMatchObject({ details: { exit: 'killed at its deadline of 1500 ms' } });
    await expectGone(pids);
  });

  it('kills the tool and what it has started when it is aborted, and throws the reason', async () => {
    const pids = join(directory, 'pids');
    const abort = new AbortController();
    const reason = new Error('the volume was deleted');
    const aborted = node(familyScript(pids), { signal: abort.signal, onOutput: () => abort.abort(reason) });
    await expect(aborted).rejects.toBe(reason);
    await expectGone(pids);
  });

  it('starts nothing when it is aborted already', async () => {
    const before = commandsStarted();
    await expect(node('', { signal: AbortSignal.abort(new Error('too late')) })).rejects.toThrow('too late');
    expect(commandsStarted()).toBe(before);
  });

  it('kills a tool that writes more than it may', async () => {
    const endless = node('const f = () => process.stdout.write("x".repeat(65536), f); f()', { maxOutputBytes: MiB });
    await expect(endless).rejects.toMatchObject({ details: { exit: `killed after more than ${MiB} bytes of output` } });
  });

  it('keeps a bounded part of a stderr without end', async () => {
    const loud = node('for (let i = 0; i < 100; i++) process.stderr.write("y".repeat(65536)); process.exitCode = 1');
    await expect(loud).rejects.toMatchObject({
      details: { exit: 'exit 1', stderr: expect.stringMatching(/^y{2000}$/) },
    });
  });

  it('returns though a process that left the group holds the pipes', async () => {
    const script = `
      const { spawn } = require('node:child_process');
      const child = spawn(process.execPath, ['-e', 'setTimeout(() => {}, 30000)'], { detached: true, stdio: 'inherit' });
      require('node:fs').writeFileSync(${JSON.stringify(join(directory, 'pid'))}, String(child.pid));
      child.unref();`;
    expect(await node(script)).toMatchObject({ exitCode: 0 });
    process.kill(Number(await readFile(join(directory, 'pid'), 'utf8')), 'SIGKILL');
  });

  it('limits the size of the files that the tool may write', async () => {
    const path = join(directory, 'large');
    const written = runCommand('dd', ['if=/dev/zero', `of=${path}`, 'bs=65536', 'count=64'], {
      timeoutMs,
      limits: { fileSizeBytes: MiB },
    });
    await expect(written).rejects.toMatchObject({ type: 'ToolFailed', details: { tool: 'dd' } });
    expect((await stat(path)).size).toBeLessThanOrEqual(MiB);
  });

  it('limits processor time and address space', async () => {
    await expect(node('for (;;);', { limits: { cpuSeconds: 1 } })).rejects.toMatchObject({
      details: { exit: expect.stringMatching(/^signal SIG(XCPU|KILL)$/) },
    });
    const large = runCommand('dd', ['if=/dev/zero', 'of=/dev/null', 'bs=256M', 'count=1'], {
      timeoutMs,
      limits: { addressSpaceBytes: 64 * MiB },
    });
    await expect(large).rejects.toMatchObject({
      type: 'ToolFailed',
      details: { stderr: expect.stringContaining('memory exhausted') },
    });
  });
});

describe('cleanStderr', () => {
  it.each([
    ["Could not open '/srv/images/x.qcow2': Permission denied", "Could not open 'x.qcow2': Permission denied"],
    ["Could not open 'file:/srv/images/x.qcow2': no", "Could not open 'x.qcow2': no"],
    ['Is another process using the image [/srv/images/x.raw]?', 'Is another process using the image [x.raw]?'],
    ['{"filename":"/srv/images/x.raw"}', '{"filename":"x.raw"}'],
    ['1/2 of it', '1/2 of it'],
  ])('turns %p into %p', (given, cleaned) => {
    expect(cleanStderr(given)).toBe(cleaned);
  });
});

/** A tool that starts another one, tells both pids, says so, and never ends. */
function familyScript(pids: string): string {
  return `
    const { spawn } = require('node:child_process');
    const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'inherit' });
    require('node:fs').writeFileSync(${JSON.stringify(pids)}, process.pid + ' ' + child.pid);
    process.stdout.write('ready');
    setInterval(() => {}, 1000);`;
}

async function expectGone(path: string): Promise<void> {
  const pids = (await readFile(path, 'utf8')).split(' ').map(Number);
  expect(pids).toHaveLength(2);
  for (const pid of pids) expect(await isRunning(pid)).toBe(false);
}

/** A killed orphan may be a zombie for as long as its new parent takes to reap it. */
async function isRunning(pid: number): Promise<boolean> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => undefined);
  return status !== undefined && !/^State:\s+[ZX]/m.test(status);
}
