import { bundleWorkflowCode } from '@temporalio/worker';
import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { writeFileAtomically } from '../lib/files';

/** Where the build leaves the workflow code of this version; a worker only reads it. */
export const workflowBundlePath = join(__dirname, '..', 'workflow-bundle.js');

/** The same with interceptors that make spans, for a worker whose traces are wanted. */
export const tracedWorkflowBundlePath = join(__dirname, '..', 'workflow-bundle-traced.js');
export const workflowTracingModule = require.resolve('./workflow-tracing');

/** The same in the worker and in the workflows' sandbox. */
export const dataConverter = { payloadConverterPath: require.resolve('./payload-converter') };

/** Bundles `workflows/` for Temporal's sandbox, once at build time: a worker starts in a second instead of ten. */
export async function buildWorkflowBundle(
  path = workflowBundlePath,
  workflowInterceptorModules: string[] = [],
): Promise<void> {
  const { code } = await bundleWorkflowCode({
    workflowsPath: require.resolve('../workflows'),
    payloadConverterPath: dataConverter.payloadConverterPath,
    workflowInterceptorModules,
    // Lines of stack traces stay; the text of all modules once more would be a quarter of the package.
    webpackConfigHook: (config) => ({ ...config, devtool: 'inline-nosources-source-map' }),
  });
  await mkdir(dirname(path), { recursive: true });
  writeFileAtomically(path, code, 0o644);
}

async function buildAll(): Promise<void> {
  await buildWorkflowBundle();
  await buildWorkflowBundle(tracedWorkflowBundlePath, [workflowTracingModule]);
}

if (require.main === module) {
  buildAll().catch((error: unknown) => {
    console.error(error);
    process.exitCode = 1;
  });
}
