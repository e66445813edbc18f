import { open, type FileHandle } from 'node:fs/promises';
import type { ProgressReporter } from '../progress';
import { unlessAborted } from '../../lib/abort';

/** Images that are written straight into image-volumes by this process: one at a time for a content hash, and for an image-volume. */
export interface Streams {
  /**
   * Runs `work` alone. An older attempt at the same image-volume is aborted first and has ended. Another image-volume of the same content is waited
   * for: the content that it wrote is given to `work`, so that a host downloads the content once.
   */
  run<Result>(stream: StreamOf, reporter: ProgressReporter, work: StreamWork<Result>): Promise<Result>;
}

export interface StreamOf {
  imageVolume: string;
  contentHash: string;
}

export type StreamWork<Result> = (context: {
  reporter: ProgressReporter;
  /** The whole content, verified by the one that wrote it. Open for reading until `work` ends. */
  content: FileHandle | undefined;
  /** Says where `work` writes, as soon as the file is there: others may wait for it. */
  writesTo(this: void, path: string): void;
}) => Promise<Result>;

interface Running extends StreamOf {
  controller: AbortController;
  /** Undefined when it ended before it wrote. */
  path: Promise<string | undefined>;
  succeeded: Promise<boolean>;
}

export function createStreams(): Streams {
  const running = new Set<Running>();

  const find = ({ imageVolume, contentHash }: StreamOf): Running | undefined =>
    [...running].find((other) => other.imageVolume === imageVolume || other.contentHash === contentHash);

  /** Ends when nothing else runs. @returns the content that the last one wrote, if one did. */
  const takeTurn = async (stream: StreamOf, reporter: ProgressReporter): Promise<FileHandle | undefined> => {
    let content: FileHandle | undefined;
    try {
      for (let other = find(stream); other !== undefined; other = find(stream)) {
        reporter.signal.throwIfAborted();
        await content?.close();
        content = undefined;
        if (other.imageVolume === stream.imageVolume) {
          other.controller.abort(new Error('a later attempt takes over'));
          await other.succeeded;
        } else content = await awaitContent(other, reporter);
      }
      return content;
    } catch (error) {
      await content?.close();
      throw error;
    }
  };

  return {
    async run(stream, reporter, work) {
      const content = await takeTurn(stream, reporter);
      const controller = new AbortController();
      const path = settleable<string | undefined>();
      const succeeded = settleable<boolean>();
      const self: Running = { ...stream, controller, path: path.promise, succeeded: succeeded.promise };
      running.add(self);
      const signal = AbortSignal.any([reporter.signal, controller.signal]);
      let done = false;
      try {
        const own: ProgressReporter = { signal, report: (progress) => reporter.report(progress) };
        const result = await work({ reporter: own, content, writesTo: (file) => path.resolve(file) });
        done = true;
        return result;
      } finally {
        running.delete(self);
        path.resolve(undefined);
        succeeded.resolve(done);
        await content?.close();
      }
    },
  };
}

/** Opens what the other one writes and waits for its end: the bytes stay readable whatever name they get or lose. */
async function awaitContent(other: Running, reporter: ProgressReporter): Promise<FileHandle | undefined> {
  const summary = `waiting for image-volume ${other.imageVolume}, which gets the same bytes`;
  reporter.report({ stage: 'waiting', summary });
  const path = await unlessAborted(other.path, reporter.signal);
  const content = path === undefined ? undefined : await open(path, 'r').catch(() => undefined);
  try {
    if (await unlessAborted(other.succeeded, reporter.signal)) return content;
  } catch (error) {
    await content?.close();
    throw error;
  }
  await content?.close();
  return undefined;
}

function settleable<Value>(): { promise: Promise<Value>; resolve(value: Value): void } {
  let resolve: (value: Value) => void = () => undefined;
  const promise = new Promise<Value>((settle) => (resolve = settle));
  return { promise, resolve: (value) => resolve(value) };
}
