import { z } from 'zod';
import { startNodeProcess } from './node-process';
import type { Part } from './part';
import { choosePort, startOnFreePorts, type OnPortMoved } from '../ports';

export interface ImageServiceProcessOptions {
  /** Where it keeps its images. */
  directory: string;
  logPath: string;
  pidPath?: string;
  /** Wanted TCP port of 127.0.0.1; 0, the default, is any free one. */
  port?: number;
  onMoved?: OnPortMoved;
  signal?: AbortSignal;
}

export interface ImageServiceProcess {
  endpoint: string;
  part: Part;
  stop: () => Promise<void>;
}

const READY_DEADLINE_MS = 30_000;
const readySchema = z.object({ listening: z.url() });

/** Starts the local image service as a process and returns when it listens. Undo: `stop`; the images stay. */
export async function startImageServiceProcess(options: ImageServiceProcessOptions): Promise<ImageServiceProcess> {
  const { directory, logPath, pidPath, port: wanted = 0, onMoved, signal } = options;
  const start = ({ port }: { port: number }) =>
    startNodeProcess({
      name: 'images',
      script: 'worker/stack/image-service/main.js',
      env: {
        ...process.env,
        IVC_IMAGE_SERVICE_DIRECTORY: directory,
        IVC_IMAGE_SERVICE_HOST: '127.0.0.1',
        IVC_IMAGE_SERVICE_PORT: String(port),
      },
      logPath,
      pidPath,
      ready: readySchema,
      readyDeadlineMs: READY_DEADLINE_MS,
      signal,
    });
  const { part, said } = await startOnFreePorts(
    async () => ({ port: await choosePort(wanted, { what: 'API', onMoved }) }),
    start,
  );
  return { endpoint: said.listening, part, stop: () => part.stop() };
}
