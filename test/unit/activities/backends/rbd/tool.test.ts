import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openToolCluster } from '../../../../../activities/backends/rbd/tool';

describe('a tool of Ceph that crashes or hangs', () => {
  const path = process.env['PATH'];
  let directory = '';
  let calls: () => Promise<number>;
  /** `rbd`, which is killed by SIGABRT as often as said, then answers an empty list. */
  const installRbd = async (crashes: number): Promise<void> => {
    const log = join(directory, 'calls');
    await writeFile(log, '');
    const script = `#!/bin/sh\necho x >> ${log}\n[ $(wc -l < ${log}) -gt ${crashes} ] || kill -ABRT $$\necho '[]'\n`;
    await writeFile(join(directory, 'rbd'), script);
    await chmod(join(directory, 'rbd'), 0o755);
    calls = async () => (await readFile(log, 'utf8')).length / 2;
  };
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'ivc-rbd-tool-'));
    process.env['PATH'] = `${directory}:${path}`;
  });
  afterEach(async () => {
    process.env['PATH'] = path;
    await rm(directory, { recursive: true, force: true });
  });
  const cluster = openToolCluster({ pool: 'volumes', conf: '/dev/null', user: 'cinder', operationTimeoutMs: 10_000 });

  it('is asked once more for what it only tells', async () => {
    await installRbd(1);
    expect(await cluster.listImages()).toEqual([]);
    expect(await calls()).toBe(2);
  });

  it('is not asked a third time', async () => {
    await installRbd(2);
    await expect(cluster.listImages()).rejects.toMatchObject({
      type: 'ToolFailed',
      details: { exit: 'signal SIGABRT' },
    });
    expect(await calls()).toBe(2);
  });

  it('is not called again for what it does', async () => {
    await installRbd(1);
    await expect(cluster.createSnapshot('a', 'b')).rejects.toMatchObject({ type: 'ToolFailed' });
    expect(await calls()).toBe(1);
  });

  it('has ended in doubt when it is killed, since it took too long', async () => {
    await writeFile(join(directory, 'rbd'), '#!/bin/sh\nexec sleep 60\n', { mode: 0o755 });
    const hasty = openToolCluster({ pool: 'volumes', conf: '/dev/null', user: 'cinder', operationTimeoutMs: 50 });
    await expect(hasty.listImages()).rejects.toMatchObject({ call: 'rbd ls', code: 'ETIMEDOUT' });
  });
});
