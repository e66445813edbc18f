import type { Command } from 'commander';
import { ConfigError } from '../../config/config-error';
import type { ImageVolumeCache } from '../../connection';
import { exitCodeOfFindings, fault, type DoctorFinding } from '../doctor/check';
import {
  checkBackends,
  checkConfiguration,
  checkConfinement,
  checkDatabase,
  checkImages,
  checkTools,
} from '../doctor/parts';
import { checkIdentity } from '../doctor/account';
import { checkImageRights } from '../doctor/rights';
import { checkTemporal } from '../doctor/temporal';
import { print, printJson } from '../output/print';
import { formatTable } from '../output/table';
import { withClient, withSharedOptions, type SharedOptions } from '../run-verb';

/** The one check whose faults take several lines. */
const CONFIGURATION = 'configuration';

export function registerDoctor(program: Command): void {
  const command = program
    .command('doctor')
    .description('check configuration, services, workers, tools and backends; say how to fix each fault');
  withSharedOptions(command).action(doctor);
}

async function doctor(options: SharedOptions): Promise<void> {
  const findings = await examine(options);
  const exitCode = exitCodeOfFindings(findings);
  if (options.json) printJson({ healthy: exitCode === 0, findings });
  else print(describe(findings));
  process.exitCode = exitCode;
}

async function examine(options: SharedOptions): Promise<DoctorFinding[]> {
  try {
    return await withClient(options, examineAll);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return [fault(CONFIGURATION, error.message, 'fix it; nothing else was checked')];
  }
}

async function examineAll(cache: ImageVolumeCache): Promise<DoctorFinding[]> {
  const backends = Object.keys(cache.settings.loaded.config.backends);
  const parts = await Promise.all([
    checkTemporal(cache, backends),
    checkDatabase(cache),
    checkIdentity(cache),
    checkImages(cache),
    checkImageRights(cache),
    checkTools(),
    checkConfinement(cache),
    checkBackends(cache),
  ]);
  return [checkConfiguration(cache), ...parts.flat()];
}

function describe(findings: DoctorFinding[]): string[] {
  const rows = findings.map(({ check, state, found }) => [
    state === 'fault' ? 'FAULT' : state,
    check,
    check === CONFIGURATION ? found.split('\n') : found,
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
