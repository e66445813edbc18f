import { formatTable } from '../../../client/cli/output/table';
import type { BesideReport } from './cinder';
import { HERD, IN_FLIGHT, SUSTAINED_HITS, type Figures } from './contender';

interface Line {
  name: string;
  of(this: void, figures: Figures): number | undefined;
  unit: 'ms' | 'per s' | '';
  /** How many times better than Cinder's ours shall be. */
  goal?: number;
  /** The same through the API; default: `goal`. */
  apiGoal?: number;
}

const lines: Line[] = [
  { name: 'hit, p50', of: ({ hitP50Ms }) => hitP50Ms, unit: 'ms', goal: 10 },
  { name: 'the same, until the POST was answered', of: ({ postP50Ms }) => postP50Ms, unit: 'ms' },
  { name: 'hit, p95', of: ({ hitP95Ms }) => hitP95Ms, unit: 'ms' },
  {
    name: `${SUSTAINED_HITS} hits, ${IN_FLIGHT} in flight`,
    of: ({ hitsPerSecond }) => hitsPerSecond,
    unit: 'per s',
    goal: 20,
  },
  { name: 'the same, p50', of: ({ sustainedP50Ms }) => sustainedP50Ms, unit: 'ms' },
  { name: "the same, changes of Ceph's map", of: ({ mapChanges }) => mapChanges, unit: '' },
  { name: `herd of ${HERD}, cold qcow2 of 512 MiB`, of: ({ herdMs }) => herdMs, unit: 'ms', goal: 8, apiGoal: 5 },
  { name: 'cold qcow2 of 512 MiB, p50', of: ({ coldP50Ms }) => coldP50Ms, unit: 'ms', goal: 3 },
];

/** Date and versions, then a table as the manual has it. */
export function formatBeside({ measuredAt, versions, ...figures }: BesideReport): string {
  const { cinder, tunedCinder, ours, oursThroughApi } = figures;
  const named = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  const rows = lines.map((line) => [
    line.name,
    ...[cinder, tunedCinder, ours].map((of) => textOf(line, of)),
    ...better(line, { cinder, ours, goal: line.goal }),
    textOf(line, oursThroughApi),
    ...better(line, { cinder, ours: oursThroughApi, goal: line.apiGoal ?? line.goal }),
  ]);
  const verdict = ['BETTER', 'GOAL', 'REACHED'];
  const head = ['BESIDE CINDER', 'CINDER', 'MONITOR TUNED', 'OURS', ...verdict, 'OUR API', ...verdict];
  return [`${measuredAt.slice(0, 10)}: ${named.join(', ')}`, ...formatTable(head, rows)].join('\n');
}

const textOf = ({ of, unit }: Line, figures: Figures): string => {
  const value = of(figures);
  return value === undefined ? '-' : [value, unit].join(' ').trim();
};

function better(
  { of, unit }: Line,
  { cinder, ours, goal }: { cinder: Figures; ours: Figures; goal: number | undefined },
): string[] {
  const [theirs = Number.NaN, own = Number.NaN] = [of(cinder), of(ours)];
  const times = unit === 'per s' ? own / theirs : theirs / own;
  const verdict = goal === undefined ? ['', ''] : [`${goal}x`, times >= goal ? 'yes' : 'NO'];
  return [Number.isFinite(times) ? `${times.toFixed(1)}x` : '-', ...verdict];
}
