import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensureTemporalBinary } from '../../worker/stack/temporal-binary';
import { startTemporalServer } from '../../worker/stack/temporal-server';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'ivc-temporal-'));
});
afterEach(async () => await rm(directory, { recursive: true, force: true }));

/** As the server itself ends when another process takes a port between its choice and its listening: far below in its log is why. */
const LOSES_ITS_FIRST_PORT = `
if [ ! -e "$0.lost" ]; then
  touch "$0.lost"
  echo 'level=ERROR msg="Failed to start gRPC listener" error="listen tcp 127.0.0.1:33439: bind: address already in use" service=matching'
  echo 'panic: runtime error: invalid memory address or nil pointer dereference'
  for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do echo "goroutine $n [running]:"; done
  exit 2
fi
`;

test('a Temporal server that loses the port of an inner service is started again', async () => {
  const { path } = await ensureTemporalBinary();
  const binary = join(directory, 'temporal');
  await writeFile(binary, `#!/bin/sh\n${LOSES_ITS_FIRST_PORT}\nexec '${path}' "$@"\n`, { mode: 0o755 });
  const server = await startTemporalServer({ binary, logPath: join(directory, 'temporal.log') });
  try {
    server.part.assertRunning();
    expect(await readFile(server.part.logPath, 'utf8')).toContain('address already in use');
  } finally {
    await server.stop();
  }
});

test('a Temporal server that ends for another reason is not', async () => {
  const binary = join(directory, 'temporal');
  await writeFile(binary, '#!/bin/sh\necho started >> "$0.starts"\necho "no space left on device"\nexit 1\n', {
    mode: 0o755,
  });
  await expect(startTemporalServer({ binary, logPath: join(directory, 'temporal.log') })).rejects.toThrow(
    'temporal ended (exit code 1)',
  );
  expect(await readFile(`${binary}.starts`, 'utf8')).toBe('started\n');
});
