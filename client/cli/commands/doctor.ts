import type { Command } from 'commander';
import { ConfigError } from '../../config/config-error';
import { exitCodes } from '../../errors';
import type { DoctorFinding } from '../doctor/check';
import { lazy } from '../lazy';
import { formatTable } from '../output/table';
import { showList, type ListView } from '../output/show';
import { withClient, withSharedOptions, type SharedOptions } from '../run-verb';

export function registerDoctor(program: Command): void {
  const command = program
    .command('doctor')
    .description('check configuration, services, workers, tools and backends; say how to fix each fault');
  withSharedOptions(command).action(doctor);
}

async function doctor(options: SharedOptions): Promise<void> {
  const { findings, exitCode } = await examine(options);
  showList({ healthy: exitCode === exitCodes.done, findings }, view, options);
  process.exitCode = exitCode;
}

async function examine(options: SharedOptions): Promise<{ findings: DoctorFinding[]; exitCode: number }> {
  try {
    return await withClient(options, (cache) => lazy.doctor.examine(cache));
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const remedy = 'fix it; nothing else was checked';
    const finding = { check: 'configuration', state: 'fault', found: error.message, remedy } as const;
    return { findings: [finding], exitCode: exitCodes.failed };
  }
}

const view: ListView<DoctorFinding, { healthy: boolean; findings: DoctorFinding[] }> = {
  list: 'findings',
  id: 'check',
  columns: ['state', 'check', 'found', 'remedy'],
  empty: 'no findings',
  text: ({ findings }) => describe(findings),
};

function describe(findings: DoctorFinding[]): string[] {
  const rows = findings.map(({ check, state, found }) => [
    state === 'fault' ? 'FAULT' : state,
    check,
    // Faults of the configuration take several lines.
    found.split('\n'),
  ]);
  const remedies = findings.flatMap(({ check, remedy }) =>
    remedy === undefined ? [] : [`${check}:`, ...remedy.split('\n').map((line) => `  ${line}`)],
  );
  return [
    ...formatTable(['STATE', 'CHECK', 'FOUND'], rows),
    '',
    ...(remedies.length === 0 ? ['All is well.'] : ['What to do:', ...remedies]),
  ];
}
