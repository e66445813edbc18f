import { createTransferProgress, describeLeft } from '../../../../activities/image/transfer-progress';
import type { Progress } from '../../../../activities/progress';

const TOTAL = 64 * 1024 ** 2;

/** Keeps what was reported; `nth` resolves with the report of that number, from 1. */
function startProgress() {
  const reports: Progress[] = [];
  let told = (): void => undefined;
  const reporter = {
    report: (report: Progress) => {
      reports.push(report);
      told();
    },
    signal: new AbortController().signal,
  };
  const nth = (number: number): Promise<Progress | undefined> =>
    new Promise((done) => {
      told = () => reports.length >= number && done(reports[number - 1]);
      told();
    });
  return { progress: createTransferProgress(reporter, TOTAL), reports, nth };
}

describe('the progress of a transfer', () => {
  it('tells the last bytes before a silence too', async () => {
    const { progress, nth } = startProgress();
    progress.downloading(65_536);
    progress.downloading(1_000_000);
    progress.downloading(30_000_000);
    expect(await nth(2)).toMatchObject({ stage: 'downloading', bytesDone: 30_000_000, bytesTotal: TOTAL });
    progress.end();
  });

  it('says why the bytes are asked for again, and that none come', () => {
    const { progress, reports } = startProgress();
    progress.downloading(65_536);
    progress.askingAgain(30_000_000, 'the answer stalled');
    expect(reports.at(-1)).toEqual({
      stage: 'downloading',
      summary: 'downloading 28.6 MiB of 64 MiB; retrying after: the answer stalled',
      bytesDone: 30_000_000,
      bytesTotal: TOTAL,
      bytesPerSecond: 0,
    });
    progress.end();
  });

  it('tells the end at once', () => {
    const { progress, reports } = startProgress();
    progress.downloading(65_536);
    progress.downloading(TOTAL);
    expect(reports.at(-1)).toMatchObject({ bytesDone: TOTAL });
  });
});

it.each([
  [100, 10, ', 10 s left'],
  [1, 10, ', 1 s left'],
  [6000, 48, ', 2 min 5 s left'],
  [0, 10, ''],
  [100, 0, ''],
  [100, undefined, ''],
])('of %d bytes at %s a second it says %j', (bytesLeft, rate, said) => {
  expect(describeLeft(bytesLeft, rate)).toBe(said);
});
