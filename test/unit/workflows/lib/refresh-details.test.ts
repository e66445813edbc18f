import type { BackendName, EntryId, FollowId, ImageId } from '../../../../workflows/contract/ids';
import type { FollowOutcome, RefreshResult } from '../../../../workflows/contract/refresh';
import {
  describeFollowed,
  describeRefreshed,
  describeWarmed,
  describeWarming,
  summarizeRefresh,
  summarizeWarming,
} from '../../../../workflows/lib/refresh-details';

const backend = 'local' as BackendName;
const followed = (outcome: FollowOutcome['outcome'], summary: string): FollowOutcome => ({
  followId: 'f' as FollowId,
  name: 'debian-12',
  backend,
  outcome,
  imageId: 'i' as ImageId,
  retired: [],
  summary,
});

const result: RefreshResult = {
  imagesAsked: 4,
  usable: 1,
  deactivated: 1,
  gone: 1,
  unbelieved: 0,
  doubt: null,
  unanswered: 1,
  retiredEntries: ['e' as EntryId],
  keptEntries: [{ entryId: 'k' as EntryId, why: 'pinned' }],
  deletedEntries: 1,
  follows: [followed('flipped', 'points to image i now'), followed('failed', 'image *i* is refused')],
  summary: '',
};

it('a refresh is summed up in one sentence', () => {
  expect(summarizeRefresh(result)).toMatchSnapshot();
});

it('a refresh says what it does not believe, why, and what an operator can do', () => {
  const doubted = { ...result, unbelieved: 2, doubt: 'no other image is found' };
  const summary = summarizeRefresh(doubted);
  expect(summary).toMatchSnapshot();
  expect(describeRefreshed({ ...doubted, summary })).toContain('`ivc refresh --accept-missing`');
});

it('a refresh names the follows that came to nothing, and escapes what would be Markdown', () => {
  const details = describeRefreshed({ ...result, summary: summarizeRefresh(result) });
  expect(details).toContain('image \\*i\\* is refused');
  expect(details).not.toContain('points to image i now');
  expect(details).toMatchSnapshot();
});

it('a follow says what it points to', () => {
  expect(describeFollowed(followed('flipped', 'points to image i now'))).toMatchSnapshot();
});

it('a warming names what it waits for, and then what was not warmed and why', () => {
  const pair = { imageId: 'i', backend };
  const running = [
    { ...pair, flightWorkflowId: null },
    { ...pair, flightWorkflowId: 'populate/local/x' },
  ];
  const details = describeWarming({ total: 3, done: [], running }, (id) => `[${id}](link)`);

  const warmed = [
    {
      ...pair,
      outcome: 'populated',
      entryId: 'e' as EntryId,
      bytesDownloaded: 1,
      seconds: 1,
      summary: '1 B downloaded',
    },
    { ...pair, outcome: 'failed', entryId: null, bytesDownloaded: 0, seconds: 1, summary: 'refused' },
  ] as const;
  const summary = summarizeWarming([...warmed]);
  expect([details, summary, describeWarmed({ warmed: [...warmed], summary })]).toMatchSnapshot();
});
