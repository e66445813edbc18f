import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startImageService } from '../../worker/stack/image-service/server';
import { describeImageService } from './image-service-contract';

describeImageService('the local image service', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'images-'));
  const service = await startImageService({ directory });
  return {
    endpoint: service.url,
    caller: 'owner',
    stop: async () => {
      await service.stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
});
