import type { Progress } from '../../../../activities/progress';
import { keepingAlive, silent, waitingForTurn } from '../../../../activities/kit/heartbeat-reporter';

const downloading: Progress = {
  stage: 'downloading',
  summary: 'downloading 13.2 MiB of 64.3 MiB, 52.3 MiB/s',
  bytesDone: 13_828_096,
  bytesTotal: 67_436_544,
  bytesPerSecond: 54_869_137,
};

describe('a step that moves bytes', () => {
  it('heartbeats from its beginning on, before its work has told anything', async () => {
    const reports: Progress[] = [];
    const first = { stage: 'waiting', summary: 'asking' } as const;
    const reporter = {
      report: (progress: Progress) => void reports.push(progress),
      signal: new AbortController().signal,
    };
    await keepingAlive(reporter, first, (inner) => {
      inner.report(downloading);
      return Promise.resolve();
    });
    expect(reports).toEqual([first, downloading]);
  });

  it('tells for how long it has been silent, and no rate of the past', () => {
    expect(silent(downloading, 42_100)).toEqual({
      ...downloading,
      summary: 'downloading 13.2 MiB of 64.3 MiB; nothing new for 42 s',
      bytesPerSecond: 0,
    });
    const withLeft = { ...downloading, summary: `${downloading.summary}, 2 min 5 s left` };
    expect(silent(withLeft, 42_100).summary).toBe('downloading 13.2 MiB of 64.3 MiB; nothing new for 42 s');
    const sealing = { stage: 'sealing', summary: 'sealing image-volume-1' } as const;
    expect(silent(sealing, 3000)).toEqual({ ...sealing, summary: 'sealing image-volume-1; nothing new for 3 s' });
  });

  it('says how many others are ahead of it', () => {
    expect(waitingForTurn(1, 'download').summary).toBe('waiting for another download of this host to end');
    expect(waitingForTurn(3, 'conversion').summary).toBe('waiting for 3 other conversions of this host to end');
  });
});
