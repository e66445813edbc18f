import { Worker } from 'node:worker_threads';

/** A thread that answers one message after the other. */
export interface Thread<Answer> {
  /** Memory that is shared stays as it is until the answer. @throws when the thread has ended. */
  ask(this: void, message: object): Promise<Answer>;
  close(this: void): Promise<void>;
}

/** @param source CommonJS text, because a thread needs a file or a text, and a file's path differs between the build and the tests. */
export function startThread<Answer>(source: string, { name, data }: { name: string; data: unknown }): Thread<Answer> {
  const worker = new Worker(source, { eval: true, workerData: data, name });
  const waiters: { resolve: (answer: Answer) => void; reject: (error: Error) => void }[] = [];
  let failed: Error | undefined;
  const fail = (error: Error): void => {
    failed ??= error;
    for (const waiter of waiters.splice(0)) waiter.reject(failed);
  };
  worker.on('message', (answer: Answer) => waiters.shift()?.resolve(answer));
  worker.on('error', (error) => fail(error instanceof Error ? error : new Error(String(error))));
  worker.on('exit', () => fail(new Error(`the thread ${name} has ended`)));
  return {
    ask: (message) =>
      new Promise((resolve, reject) => {
        if (failed !== undefined) return reject(failed);
        waiters.push({ resolve, reject });
        worker.postMessage(message, []);
      }),
    close: async () => void (await worker.terminate()),
  };
}
