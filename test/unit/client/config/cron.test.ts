import { cron, cronOrInterval } from '../../../../client/config/cron';

describe('a cron expression', () => {
  it.each(['off', '0 3 * * *', '*/30 * * * *', '0,15,30 0-6/2 1-31 jan-mar MON,fri', '59 23 31 12 7', '0  3 * * *'])(
    'may be %s',
    (text) => {
      expect(cron.safeParse(text)).toMatchObject({ success: true, data: text });
    },
  );

  it.each([
    ['99 3 * * *', 'a minute of 0 to 59'],
    ['0 24 * * *', 'an hour of 0 to 23'],
    ['0 3 0 * *', 'a day of the month of 1 to 31'],
    ['0 3 * 13 *', 'a month of 1 to 12'],
    ['0 3 * * 8', 'a day of the week of 0 to 7'],
    ['0 3 * * monday', 'a day of the week of 0 to 7'],
    ['5-1 3 * * *', 'a minute of 0 to 59'],
    ['*/0 3 * * *', 'a minute of 0 to 59'],
    ['1-2-3 3 * * *', 'a minute of 0 to 59'],
    ['1, 3 * * *', 'a minute of 0 to 59'],
    ['0 3 * *', 'five fields'],
    ['@daily', 'five fields'],
  ])('is refused: %s', (text, allowed) => {
    expect(cron.safeParse(text).error?.issues).toEqual([
      expect.objectContaining({ message: expect.stringContaining(allowed) }),
    ]);
  });
});

describe('where an interval may stand too', () => {
  it.each([
    ['30m', 1_800_000],
    ['6 h', 21_600_000],
    ['*/30 * * * *', '*/30 * * * *'],
    ['off', 'off'],
  ])('%s is taken', (text, data) => {
    expect(cronOrInterval.safeParse(text)).toMatchObject({ success: true, data });
  });

  it.each([
    ['10s', 'at least 1m'],
    ['30 parsecs', 'a duration such as'],
    ['99 * * * *', 'a minute of 0 to 59'],
  ])('%s is refused', (text, allowed) => {
    expect(cronOrInterval.safeParse(text).error?.issues).toEqual([
      expect.objectContaining({ message: expect.stringContaining(allowed) }),
    ]);
  });
});
