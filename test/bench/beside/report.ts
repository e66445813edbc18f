import { formatTable } from '../../../client/cli/output/table';
import type { BesideReport } from './cinder';
import { HERD, IN_FLIGHT, SUSTAINED_HITS, type Figures } from './contender';

interface Line {
  name: string;
  of(this: void, figures: Figures): number;
  unit: 'ms' | 'per s' | '';
  /** How many times better than Cinder's ours shall be. */
  goal?: number;
}

const lines: Line[] = [
  { name: 'hit, p50', of: ({ hitP50Ms }) => hitP50Ms, unit: 'ms', goal: 10 },
  { name: 'hit, p95', of: ({ hitP95Ms }) => hitP95Ms, unit: 'ms' },
  {
    name: `${SUSTAINED_HITS} hits, ${IN_FLIGHT} in flight`,
    of: ({ hitsPerSecond }) => hitsPerSecond,
    unit: 'per s',
    goal: 20,
  },
  { name: 'the same, p50', of: ({ sustainedP50Ms }) => sustainedP50Ms, unit: 'ms' },
  { name: "the same, changes of Ceph's map", of: ({ mapChanges }) => mapChanges, unit: '' },
  { name: `herd of ${HERD}, cold qcow2 of 512 MiB`, of: ({ herdMs }) => herdMs, unit: 'ms', goal: 8 },
  { name: 'cold qcow2 of 512 MiB, p50', of: ({ coldP50Ms }) => coldP50Ms, unit: 'ms', goal: 3 },
];

/** Date and versions, then a table as the manual has it. */
export function formatBeside({ measuredAt, versions, cinder, tunedCinder, ours }: BesideReport): string {
  const named = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  const rows = lines.map(({ name, of, unit, goal }) => {
    const times = unit === 'per s' ? of(ours) / of(cinder) : of(cinder) / of(ours);
    const verdict = goal === undefined ? ['', ''] : [`${goal}x`, times >= goal ? 'yes' : 'NO'];
    const figures = [cinder, tunedCinder, ours].map((of_) => [of(of_), unit].join(' ').trim());
    return [name, ...figures, Number.isFinite(times) ? `${times.toFixed(1)}x` : '-', ...verdict];
  });
  const head = ['BESIDE CINDER', 'CINDER', 'MONITOR TUNED', 'OURS', 'BETTER', 'GOAL', 'REACHED'];
  return [`${measuredAt.slice(0, 10)}: ${named.join(', ')}`, ...formatTable(head, rows)].join('\n');
}
