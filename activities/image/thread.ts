import { join } from 'node:path';
import { parentPort, Worker } from 'node:worker_threads';

/** A thread that answers one message after the other. */
export interface Thread<Message, Answer> {
  /** Memory that is shared stays as it is until the answer. @throws what the thread's answer has thrown; when the thread has ended. */
  ask(this: void, message: Message): Promise<Answer>;
  close(this: void): Promise<void>;
}

type Reply<Answer> = { answer: Answer } | { failure: string };

/** The threads' compiled files: beside this one, or in the build where this one runs as TypeScript, as in tests. */
const directory = join(
  __filename.endsWith('.ts') ? join(__dirname, '../../dist/activities/image') : __dirname,
  'threads',
);

/** @param file of `threads/`, without its ending.  @param data read there as `workerData`. */
export function startThread<Message, Answer>(file: string, data?: object): Thread<Message, Answer> {
  const worker = new Worker(join(directory, `${file}.js`), { workerData: data, name: file });
  const waiters: { resolve: (answer: Answer) => void; reject: (error: Error) => void }[] = [];
  let failed: Error | undefined;
  const fail = (error: Error): void => {
    failed ??= error;
    for (const waiter of waiters.splice(0)) waiter.reject(failed);
  };
  worker.on('message', (reply: Reply<Answer>) => {
    const waiter = waiters.shift();
    if ('failure' in reply) waiter?.reject(new Error(reply.failure));
    else waiter?.resolve(reply.answer);
  });
  worker.on('error', (error) => fail(error instanceof Error ? error : new Error(String(error))));
  worker.on('exit', () => fail(new Error(`the thread ${file} has ended`)));
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

/** On the thread: answers every message. */
export function answerMessages(answer: (message: never) => unknown): void {
  const reply = (message: unknown): Reply<unknown> => {
    try {
      return { answer: answer(message as never) };
    } catch (error) {
      return { failure: error instanceof Error ? error.message : String(error) };
    }
  };
  parentPort?.on('message', (message) => parentPort?.postMessage(reply(message), []));
}
