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
  expect(summarizeRefresh(result)).toBe(
    '4 images checked: 1 usable, 1 deactivated, 1 gone, 1 unanswered; 1 entry retired, 1 deleted, 1 kept for now; 2 follows checked: 1 flipped, 1 failed',
  );
});

it('a refresh says what it does not believe, why, and what an operator can do', () => {
  const doubted = { ...result, unbelieved: 2, doubt: 'no other image is found' };
  const summary = summarizeRefresh(doubted);
  expect(summary).toContain('2 images not found, but not treated as deleted: no other image is found; 1 entry retired');
  expect(describeRefreshed({ ...doubted, summary })).toContain('`ivc refresh --accept-missing`');
});

it('a refresh names the follows that came to nothing, and escapes what would be Markdown', () => {
  const details = describeRefreshed({ ...result, summary: summarizeRefresh(result) });
  expect(details).toContain('- follow `debian-12` on backend `local`: failed: image \\*i\\* is refused');
  expect(details).not.toContain('points to image i now');
});

it('a follow says what it points to', () => {
  expect(describeFollowed(followed('flipped', 'points to image i now'))).toMatch(/^\*\*flipped\*\*\n\n- follow/);
});

it('a warming names what it waits for, and then what was not warmed and why', () => {
  const pair = { imageId: 'i', backend };
  const running = [
    { ...pair, flightWorkflowId: null },
    { ...pair, flightWorkflowId: 'populate/local/x' },
  ];
  const details = describeWarming({ total: 3, done: [], running }, (id) => `[${id}](link)`);
  expect(details).toContain('**warming**: 0 of 3 done');
  expect(details).toContain('image `i` on backend `local`: checking the cache');
  expect(details).toContain('waiting for [populate/local/x](link)');

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
  expect(summary).toBe('1 populated, 0 cached already, 0 not cached, 1 failed');
  expect(describeWarmed({ warmed: [...warmed], summary })).toContain('failed: refused');
});
