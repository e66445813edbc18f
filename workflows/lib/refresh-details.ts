/** Details of refreshes, follows and warming in the Temporal UI; see `details.ts`. */
import type { FollowOutcome, RefreshResult, UnfollowResult, WarmProgress, WarmResult } from '../contract/refresh';
import { code, paragraphs, text } from '../contract/markdown';
import { plural } from '../contract/words';

export function describeRefreshing({ imagesAsked, retiredEntries }: RefreshResult, follows: number): string {
  return paragraphs(
    `**refreshing**: ${plural(imagesAsked, 'image')} checked, ${plural(retiredEntries.length, 'entry', 'entries')} retired`,
    `${plural(follows, 'follow')} to be checked after the images.`,
  );
}

/** @returns one sentence, for the result. */
export function summarizeRefresh(result: Omit<RefreshResult, 'summary'>): string {
  const { imagesAsked, usable, deactivated, gone, unanswered, retiredEntries, keptEntries, follows } = result;
  const { unbelieved, doubt } = result;
  const failed = follows.filter(({ outcome }) => outcome === 'failed').length;
  const flipped = follows.filter(({ outcome }) => outcome === 'flipped').length;
  return [
    `${plural(imagesAsked, 'image')} checked: ${usable} usable, ${deactivated} deactivated, ${gone} gone, ${unanswered} unanswered`,
    ...(doubt === null ? [] : [`${plural(unbelieved, 'image')} not found, but not treated as deleted: ${doubt}`]),
    `${plural(retiredEntries.length, 'entry', 'entries')} retired, ${result.deletedEntries} deleted, ${keptEntries.length} kept for now`,
    `${plural(follows.length, 'follow')} checked: ${flipped} flipped, ${failed} failed`,
  ].join('; ');
}

export function describeRefreshed(result: RefreshResult): string {
  const troubled = result.follows.filter(({ outcome }) => outcome === 'failed' || outcome === 'no-match');
  const head = `**refreshed**: ${text(result.summary)}`;
  const doubted = 'Nothing was retired for them. If they were deleted: `ivc refresh --accept-missing`.';
  return withList(result.doubt === null ? head : paragraphs(head, doubted), troubled.map(followLine));
}

export function describeFollowing(name: string, backend: string): string {
  return paragraphs(
    `**finding** the newest image of follow ${code(name)} on backend ${code(backend)}`,
    'The follow is set. Creates use the image that it had ready until the newest one is.',
  );
}

export function describeFollowed(outcome: FollowOutcome): string {
  return paragraphs(`**${outcome.outcome}**`, followLine(outcome));
}

export function describeUnfollowed({ name, backend, outcome }: UnfollowResult): string {
  const said = outcome === 'removed' ? 'images cached for it stay in the cache' : 'there was no such follow';
  return `**${outcome}**: follow ${code(name)} on backend ${code(backend)}; ${said}`;
}

export function describeWarming({ total, done, running }: WarmProgress, link: (workflowId: string) => string): string {
  const lines = running.map(({ imageId, backend, flightWorkflowId }) => {
    const waits = flightWorkflowId === null ? 'checking the cache' : `waiting for ${link(flightWorkflowId)}`;
    return `- image ${code(imageId)} on backend ${code(backend)}: ${waits}`;
  });
  return withList(`**warming**: ${done.length} of ${total} done`, lines);
}

/** @returns one sentence, for the result. */
export function summarizeWarming(warmed: WarmResult['warmed']): string {
  const count = (outcome: string) => warmed.filter((one) => one.outcome === outcome).length;
  return `${count('populated')} populated, ${count('ready')} cached already, ${count('not-cached')} not cached, ${count('failed')} failed`;
}

export function describeWarmed({ warmed, summary }: WarmResult): string {
  const troubled = warmed.filter(({ entryId }) => entryId === null);
  const lines = troubled.map(
    ({ imageId, backend, outcome, summary: why }) =>
      `- image ${code(imageId)} on backend ${code(backend)}: ${outcome}: ${text(why)}`,
  );
  return withList(`**warmed**: ${text(summary)}`, lines);
}

function withList(head: string, lines: string[]): string {
  return lines.length === 0 ? head : paragraphs(head, lines.join('\n'));
}

function followLine({ name, backend, outcome, summary }: FollowOutcome): string {
  return `- follow ${code(name)} on backend ${code(backend)}: ${outcome}: ${text(summary)}`;
}
