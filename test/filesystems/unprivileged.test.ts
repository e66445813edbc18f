import { spawn } from 'node:child_process';
import { chown, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { describeWithMounts } from '../support/machine/describe-with-mounts';
import { endWithTest } from '../support/machine/test-process';

const NOBODY = 65_534;
const root = resolve(__dirname, '../..');
const TIMEOUT_MS = 300_000;

describeWithMounts('an unprivileged user', () => {
  it(
    'gets all that the file backend promises, in a directory of its own, and a confined qemu-img',
    async () => {
      const home = await mkdtemp(join(tmpdir(), 'ivc-nobody-'));
      try {
        await chown(home, NOBODY, NOBODY);
        expect(await runAsNobody(home)).toEqual({
          code: 0,
          output: expect.stringMatching(/Tests: +(?:\d+ skipped, )?\d+ passed/),
        });
      } finally {
        await rm(home, { recursive: true, force: true });
      }
    },
    TIMEOUT_MS,
  );
});

/** Runs once more the suites that do not need the services of the others. */
async function runAsNobody(home: string): Promise<{ code: number | null; output: string }> {
  const jest = join(root, 'node_modules/jest/bin/jest.js');
  const config = JSON.stringify({
    rootDir: root,
    testEnvironment: 'node',
    testMatch: [
      '<rootDir>/test/conformance/file-backend.test.ts',
      '<rootDir>/test/unit/activities/{confinement,handed-over,image/qemu-img}.test.ts',
    ],
    testTimeout: 300_000,
    transform: {
      '^.+\\.ts$': [
        '@swc/jest',
        { jsc: { target: 'es2022', parser: { syntax: 'typescript' } }, module: { type: 'commonjs' } },
      ],
    },
    cacheDirectory: join(home, 'cache'),
  });
  const child = endWithTest(
    spawn(process.execPath, [jest, '--config', config, '--runInBand'], {
      cwd: root,
      uid: NOBODY,
      gid: NOBODY,
      env: { PATH: process.env['PATH'], HOME: home, TMPDIR: home, CI: '1' },
      stdio: ['ignore', 'pipe', 'pipe'],
    }),
  );
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (chunk: string) => (output += chunk));
  const code = await new Promise<number | null>((done) => child.once('close', done));
  return { code, output };
}
