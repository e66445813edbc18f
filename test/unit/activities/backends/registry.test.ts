import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createBackend } from '../../../../activities/backends/registry';
import { configSchema } from '../../../../client/config/schema';
import type { BackendName, InstallationId } from '../../../../workflows/contract/ids';
import { brand } from '../../../support/brand';

describe('createBackend', () => {
  let dataDirectory: string;
  const name = brand<BackendName>('local');
  const installation = brand<InstallationId>('0b8f4c5e-1111-4222-8333-444455556666');
  beforeEach(async () => {
    dataDirectory = await mkdtemp(join(tmpdir(), 'ivc-registry-'));
  });
  afterEach(async () => {
    await rm(dataDirectory, { recursive: true, force: true });
  });

  it('makes a file backend in its directory', async () => {
    const directory = join(dataDirectory, 'elsewhere');
    const { backends } = configSchema.parse({ backends: { local: { driver: 'file' } } });
    const config = backends['local'];
    if (config?.driver !== 'file') throw new Error('the configuration lost a backend');
    const backend = await createBackend({ ...config, directory }, { name, installation });
    expect(backend).toMatchObject({ name, driver: 'file', capabilities: { clone: 'instant' } });
    expect((await stat(join(directory, 'backend.json'))).isFile()).toBe(true);
  });
});
