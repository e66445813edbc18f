import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createStreams, type StreamWork } from '../../../../activities/image/streams';
import type { ProgressReporter } from '../../../../activities/progress';

let directory: string;
const reporter: ProgressReporter = { signal: new AbortController().signal, report: () => undefined };

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'streams-'));
});

afterEach(() => rm(directory, { recursive: true, force: true }));

/** Work that ends when it is told to, or is aborted. */
function heldWork() {
  let release: () => void = () => undefined;
  const held = new Promise<void>((resolve) => (release = resolve));
  let begin: () => void = () => undefined;
  const begun = new Promise<void>((resolve) => (begin = resolve));
  const work: StreamWork<string> = async ({ reporter: own, writesTo }) => {
    const path = join(directory, 'content');
    await writeFile(path, 'bytes');
    writesTo(path);
    begin();
    await new Promise<void>((resolve, reject) => {
      void held.then(resolve);
      own.signal.addEventListener('abort', () => reject(own.signal.reason as Error));
    });
    return 'done';
  };
  return { work, begun, release };
}

const readContent: StreamWork<string> = async ({ content }) => (await content?.readFile('utf8')) ?? 'none';

describe('streams', () => {
  it('give the bytes that one has written to the next one that wants them, though their name is gone', async () => {
    const streams = createStreams();
    const first = heldWork();
    const running = streams.run({ imageVolume: 'a', contentHash: 'h' }, reporter, first.work);
    await first.begun;
    let waits: () => void = () => undefined;
    const waiting = new Promise<void>((resolve) => (waits = resolve));
    const second = streams.run({ imageVolume: 'b', contentHash: 'h' }, { ...reporter, report: waits }, readContent);
    await waiting;
    first.release();
    expect(await running).toBe('done');
    await rm(join(directory, 'content'));
    expect(await second).toBe('bytes');
  });

  it('let the next one begin with nothing when the first one failed', async () => {
    const streams = createStreams();
    const first = streams.run({ imageVolume: 'a', contentHash: 'h' }, reporter, () => Promise.reject(new Error('cut')));
    const second = streams.run({ imageVolume: 'b', contentHash: 'h' }, reporter, readContent);
    await expect(first).rejects.toThrow('cut');
    expect(await second).toBe('none');
  });

  it('end an older attempt at the same image-volume before the later one begins', async () => {
    const streams = createStreams();
    const older = heldWork();
    const running = streams.run({ imageVolume: 'a', contentHash: 'h' }, reporter, older.work);
    running.catch(() => undefined);
    await older.begun;
    expect(await streams.run({ imageVolume: 'a', contentHash: 'h' }, reporter, readContent)).toBe('none');
    await expect(running).rejects.toThrow('a later attempt takes over');
  });

  it('run side by side for different content', async () => {
    const streams = createStreams();
    const first = heldWork();
    const running = streams.run({ imageVolume: 'a', contentHash: 'h' }, reporter, first.work);
    expect(await streams.run({ imageVolume: 'b', contentHash: 'i' }, reporter, readContent)).toBe('none');
    first.release();
    await running;
  });
});
