import { Worker } from 'node:worker_threads';

/** A hash on a thread of its own: sha512 is the wall of one core, so it runs beside the network and the disk. */
export interface HashThread {
  /** Hashes the first `lengthBytes` of `block`, which must stay as it is until then; calls take effect in their order. */
  update(block: SharedArrayBuffer, lengthBytes: number): Promise<void>;
  /** @returns the hash so far in hex, once; nothing can be added then. */
  digest(): Promise<string>;
  close(): Promise<void>;
}

/** CommonJS text, because a thread needs a file or a text, and a file's path differs between the build and the tests. */
const threadSource = `
const { createHash } = require('node:crypto');
const { parentPort, workerData } = require('node:worker_threads');
const hash = createHash(workerData.algorithm);
parentPort.on('message', (message) => {
  if (message.block === undefined) return parentPort.postMessage({ hex: hash.digest('hex') });
  hash.update(new Uint8Array(message.block, 0, message.lengthBytes));
  parentPort.postMessage({});
});
`;

interface Answer {
  hex?: string;
}

interface Waiter {
  resolve: (answer: Answer) => void;
  reject: (error: Error) => void;
}

/** @param algorithm a name that node:crypto knows. */
export function startHashThread(algorithm: string): HashThread {
  const worker = new Worker(threadSource, { eval: true, workerData: { algorithm }, name: 'image hash' });
  const waiters: Waiter[] = [];
  let failed: Error | undefined;
  const fail = (error: Error): void => {
    failed ??= error;
    for (const waiter of waiters.splice(0)) waiter.reject(failed);
  };
  worker.on('message', (answer: Answer) => waiters.shift()?.resolve(answer));
  worker.on('error', (error) => fail(error instanceof Error ? error : new Error(String(error))));
  worker.on('exit', () => fail(new Error('the hash thread has ended')));

  const ask = (message: object): Promise<Answer> =>
    new Promise((resolve, reject) => {
      if (failed !== undefined) return reject(failed);
      waiters.push({ resolve, reject });
      worker.postMessage(message, []);
    });

  return {
    update: async (block, lengthBytes) => void (await ask({ block, lengthBytes })),
    digest: async () => (await ask({})).hex ?? '',
    close: async () => void (await worker.terminate()),
  };
}
