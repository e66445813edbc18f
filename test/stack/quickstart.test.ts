import { chmodSync, existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { packageRoot } from '../../client/config/package-root';
import { findEndpoints } from '../../client/config/endpoints';
import { startOnTerminal, type OnTerminal } from '../support/machine/terminal';
import { runIvc } from '../support/stack/ivc';

const CTRL_C = '\u0003';

/** Any free ports, so that it runs beside other stacks. */
const configuration = `
temporal: { port: 0, uiPort: 0 }
images: { service: embedded, port: 0 }
api: { listen: '127.0.0.1:0', metrics: { port: 0 } }
worker: { metricsPort: 0 }
`;

describe('the quickstart on a terminal', () => {
  let directory: string;
  let data: string;
  let environment: NodeJS.ProcessEnv;

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'ivc-newcomer-'));
    // As root the database runs as another user, who must be able to pass through.
    chmodSync(directory, 0o711);
    data = join(directory, 'data');
    const config = join(directory, 'temporal.yaml');
    writeFileSync(config, configuration);
    environment = { IVC_CONFIG: config, TMPDIR: directory };
  });

  afterEach(async () => {
    await runIvc(['down', '--data', data], environment);
    rmSync(directory, { recursive: true, force: true });
  });

  const start = (): OnTerminal =>
    startOnTerminal([process.execPath, join(packageRoot(), 'tools/quickstart.mjs'), '--data', data], environment);

  const leftImages = (): string[] => readdirSync(directory).filter((name) => name.startsWith('ivc-quickstart'));

  it('stays until Ctrl-C, and stops everything then', async () => {
    const quickstart = start();
    await quickstart.shows('runs until Ctrl-C');
    expect(findEndpoints(data)).toBeDefined();
    const listed = await runIvc(['volume', 'list', '--json', '--data', data], environment);
    expect(listed.exitCode).toBe(0);

    quickstart.type(CTRL_C);

    expect(await quickstart.ended).toMatchObject({ exitCode: 0 });
    expect(findEndpoints(data)).toBeUndefined();
    expect(leftImages()).toEqual([]);
    expect(readdirSync(join(data, 'run')).filter((name) => name.endsWith('.pid'))).toEqual([]);
  }, 120_000);

  it('ends when the stack is stopped from elsewhere', async () => {
    const quickstart = start();
    await quickstart.shows('runs until Ctrl-C');
    await runIvc(['down', '--data', data], environment);
    expect(await quickstart.ended).toMatchObject({ exitCode: 0 });
  }, 120_000);

  it.each([['stack started'], ['creating a volume']])(
    'an interrupt at "%s" leaves nothing running, and no image',
    async (moment) => {
      const quickstart = start();
      await quickstart.shows(moment);
      quickstart.type(CTRL_C);
      expect(await quickstart.ended).toMatchObject({ exitCode: 130 });
      expect(findEndpoints(data)).toBeUndefined();
      expect(leftImages()).toEqual([]);
      expect(existsSync(join(data, 'run')) ? readdirSync(join(data, 'run')) : []).not.toContainEqual(
        expect.stringMatching(/\.pid$/),
      );
    },
    120_000,
  );
});
