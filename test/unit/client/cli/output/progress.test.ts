import { PassThrough } from 'node:stream';
import { createProgressView, createRateMeter, formatBar } from '../../../../../client/cli/output/progress';
import { MiB } from '../../../../../workflows/contract/bytes';

describe('createRateMeter', () => {
  it('works out the rate of a stage that does not tell it', () => {
    let nowMs = 0;
    const addRate = createRateMeter(() => nowMs);
    const converting = (bytesDone: number) =>
      addRate({ stage: 'waiting', work: { stage: 'converting', summary: '', bytesDone, bytesTotal: 100 * MiB } }).work
        ?.bytesPerSecond;
    expect(converting(10 * MiB)).toBeUndefined();
    nowMs = 2000;
    expect(converting(50 * MiB)).toBe(20 * MiB);
  });

  it('leaves a rate that is told as it is, and begins anew with each stage', () => {
    let nowMs = 0;
    const addRate = createRateMeter(() => nowMs);
    const told = {
      stage: 'waiting',
      work: { stage: 'downloading', summary: '', bytesDone: 1, bytesPerSecond: 7 },
    } as const;
    expect(addRate(told)).toEqual(told);
    nowMs = 1000;
    const next = { stage: 'waiting', work: { stage: 'converting', summary: '', bytesDone: 5 } } as const;
    expect(addRate(next)).toEqual(next);
  });
});

describe('createProgressView', () => {
  it('writes a line for each stage where nobody watches a terminal, and none in between', () => {
    const stream = new PassThrough();
    const view = createProgressView(stream);
    view.show({ stage: 'admitting' });
    view.show({ stage: 'admitting' });
    view.show({ stage: 'waiting', work: { stage: 'downloading', summary: '', bytesDone: MiB, bytesTotal: 2 * MiB } });
    view.show({
      stage: 'waiting',
      work: { stage: 'downloading', summary: '', bytesDone: 2 * MiB, bytesTotal: 2 * MiB },
    });
    view.end();
    expect(String(stream.read())).toBe('admitting\ndownloading 1 MiB of 2 MiB\n');
  });

  it('writes over one line of a terminal, as wide as that is, and leaves nothing of it', () => {
    const stream = Object.assign(new PassThrough(), { isTTY: true, columns: 20 });
    const view = createProgressView(stream);
    view.show({ stage: 'admitting a volume whose stage is long' });
    view.end();
    expect(String(stream.read())).toBe('\r\u001b[Kadmitting a volume…\r\u001b[K');
  });
});

describe('formatBar', () => {
  const work = {
    stage: 'downloading',
    summary: '',
    bytesDone: 120 * MiB,
    bytesTotal: 480 * MiB,
    bytesPerSecond: 98 * MiB,
  } as const;
  const said = ' 25 %  downloading 120 MiB of 480 MiB, 98 MiB/s, 3.7 s left';

  it.each([
    [100, `[######------------------] ${said}`],
    [80, `[#####-------------] ${said}`],
    [67, `[#----] ${said}`],
    [60, said.trimStart()],
    [50, '25 %  downloading, 98 MiB/s, 3.7 s left'],
    [30, '25 %, 98 MiB/s, 3.7 s left'],
  ])('gives way in %d columns before rate and time left do', (columns, line) => {
    expect(formatBar({ stage: 'waiting', work }, columns)).toBe(line);
  });

  it('cuts what is said where not even these have room', () => {
    expect(formatBar({ stage: 'waiting', work }, 20)).toBe('25 %  downloading 1…');
  });
});
