const shared = {
  rootDir: __dirname,
  cacheDirectory: `${__dirname}/node_modules/.cache/jest`,
  testEnvironment: 'node',
  transform: {
    '^.+\\.ts$': [
      '@swc/jest',
      {
        jsc: { target: 'es2022', parser: { syntax: 'typescript' } },
        module: { type: 'commonjs' },
        sourceMaps: 'inline',
      },
    ],
  },
};
/** Suites that need a Temporal server or a PostgreSQL: one of each is started for the whole run. */
const stack = {
  globalSetup: '<rootDir>/test/support/jest/global-setup.ts',
  globalTeardown: '<rootDir>/test/support/jest/global-teardown.ts',
};

const suite = (name, more = {}) => ({
  ...shared,
  ...more,
  displayName: name,
  testMatch: [`<rootDir>/test/${name}/**/*.test.ts`],
});

/** @type {import('jest').Config} */
module.exports = {
  // For a test that hangs: what a test waits for has a deadline and a name of its own, and a busy machine takes its time.
  testTimeout: 300_000,
  projects: [
    suite('unit'),
    suite('workflow', stack),
    suite('replay'),
    suite('conformance', stack),
    suite('integration', stack),
    suite('stack', stack),
    suite('glance', stack),
    suite('ceph', { ...stack, globalSetup: '<rootDir>/test/support/ceph/ceph-setup.ts' }),
    suite('import', stack),
    suite('keystone', { ...stack, globalSetup: '<rootDir>/test/support/openstack/keystone-setup.ts' }),
    suite('tempest', { ...stack, globalSetup: '<rootDir>/test/support/openstack/volume-cloud-setup.ts' }),
    suite('nova', { ...stack, globalSetup: '<rootDir>/test/support/openstack/nova-cloud-setup.ts' }),
    suite('filesystems'),
    suite('boot', stack),
    suite('browser', stack),
    suite('crash', stack),
    suite('soak', stack),
    suite('deploy'),
  ],
};
