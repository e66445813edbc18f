import globalSetup = require('../jest/global-setup');
import { glancePackages, tokenPackages } from '../glance/real-glance';
import { ensurePackages } from '../machine/debian-packages';
import { keystonePackages } from './keystone';

/** Installs what is missing before what `global-setup` starts: test files that run side by side would install the same at once. */
async function keystoneSetup(): Promise<void> {
  await ensurePackages([...keystonePackages, ...glancePackages, ...tokenPackages]);
  await globalSetup();
}

export = keystoneSetup;
