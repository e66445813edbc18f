import keystoneSetup = require('./keystone-setup');
import { runningStack } from '../jest/running-stack';
import { ensurePackages } from '../machine/debian-packages';
import { novaPackages } from './nova';
import { startNovaCloud } from './nova-cloud';

/** Starts one cloud with Nova for all files of a run. */
async function novaCloudSetup(): Promise<void> {
  await ensurePackages(novaPackages);
  await keystoneSetup();
  await runningStack.add(startNovaCloud);
}

export = novaCloudSetup;
