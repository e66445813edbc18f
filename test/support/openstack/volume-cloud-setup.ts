import keystoneSetup = require('./keystone-setup');
import { runningStack } from '../jest/running-stack';
import { startVolumeCloud } from './volume-cloud';

/** Starts one cloud for all files of a run, since it takes half a minute. */
async function volumeCloudSetup(): Promise<void> {
  await keystoneSetup();
  await runningStack.add(startVolumeCloud);
}

export = volumeCloudSetup;
