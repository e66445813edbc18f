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

  it('makes the default file backend below the data directory, and one elsewhere where it is told', async () => {
    const elsewhere = join(dataDirectory, 'elsewhere');
    const { backends } = configSchema.parse({
      backends: { local: { driver: 'file' }, other: { driver: 'file', directory: elsewhere } },
    });
    for (const [config, directory] of [
      [backends['local'], join(dataDirectory, 'volumes', 'local')],
      [backends['other'], elsewhere],
    ] as const) {
      if (config === undefined) throw new Error('the configuration lost a backend');
      const backend = await createBackend(config, { name, installation, dataDirectory });
      expect(backend).toMatchObject({ name, driver: 'file', capabilities: { clone: 'instant' } });
      expect((await stat(join(directory, 'backend.json'))).isFile()).toBe(true);
    }
  });
});
