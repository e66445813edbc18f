const shared = {
  rootDir: __dirname,
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
  testTimeout: 60_000,
  projects: [
    suite('unit'),
    suite('workflow', stack),
    suite('replay'),
    suite('conformance', stack),
    suite('integration', stack),
    suite('glance', stack),
    suite('ceph', { ...stack, globalSetup: '<rootDir>/test/support/ceph/ceph-setup.ts' }),
    suite('filesystems'),
    suite('boot', stack),
    suite('browser', stack),
    suite('crash', stack),
  ],
};
