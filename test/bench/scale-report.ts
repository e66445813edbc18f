import { formatTable } from '../../client/cli/output/table';
import type { ScaleMeasure } from './measures/scale';

/** The plans of the large database, then the figures of both. */
export function formatScale(measures: ScaleMeasure[]): string {
  if (measures.length === 0) return '';
  const explained = measures.filter(({ plans: of }) => of.length > 0);
  const plans = explained.map(
    ({ name, plans: of }) => `--- ${name}, 10,000 entries and 1,000,000 volumes\n${of.join('\n')}`,
  );
  const figures = formatTable(
    ['SCALE', 'N', 'P50 MS, 100 / 10,000', 'P50 MS, 10,000 / 1,000,000', 'RATIO', 'WITHIN 3x'],
    measures.map(({ name, n, smallP50Ms, largeP50Ms, ratio, withinAllowed }) => [
      name,
      String(n),
      String(smallP50Ms),
      String(largeP50Ms),
      String(ratio),
      withinAllowed ? 'yes' : 'NO',
    ]),
  ).join('\n');
  return `${plans.join('\n\n')}\n\n${figures}`;
}
