import { Command } from 'commander';
import { describeConfinement } from '../activities/confinement';
import { note } from '../client/cli/output/print';
import { loadConfig } from '../client/config/load';
import { openToolGuard } from './open-tool-guard';
import { errorMessage } from '../lib/error-message';

/**
 * A short program for `ivc doctor`, which starts it by its path: one line of JSON that says what protects this host
 * from qemu-img, for this user.
 */
async function main(): Promise<void> {
  const options = new Command('image-volume-cache describe-confinement')
    .option('--config <path>', 'temporal.yaml to use')
    .option('--data <directory>', 'data directory')
    .parse()
    .opts<{ config?: string; data?: string }>();
  const { config } = loadConfig(options);
  const { confinement } = await openToolGuard(config);
  const { holds, missing } = confinement;
  process.stdout.write(`${JSON.stringify({ holds, missing, summary: describeConfinement(confinement) })}\n`);
}

main().catch((error: unknown) => {
  note(errorMessage(error).split('\n'));
  process.exitCode = 1;
});
