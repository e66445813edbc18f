import { bundleWorkflowCode } from '@temporalio/worker';
import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { writeFileAtomically } from '../lib/files';

/** Where the build leaves the workflow code of this version; a worker only reads it. */
export const workflowBundlePath = join(__dirname, '..', 'workflow-bundle.js');

/** The same in the worker and in the workflows' sandbox. */
export const dataConverter = { payloadConverterPath: require.resolve('./payload-converter') };

/** Bundles `workflows/` for Temporal's sandbox, once at build time: a worker starts in a second instead of ten. */
export async function buildWorkflowBundle(path = workflowBundlePath): Promise<void> {
  const { code } = await bundleWorkflowCode({
    workflowsPath: require.resolve('../workflows'),
    payloadConverterPath: dataConverter.payloadConverterPath,
  });
  await mkdir(dirname(path), { recursive: true });
  writeFileAtomically(path, code, 0o644);
}

if (require.main === module) {
  buildWorkflowBundle().catch((error: unknown) => {
    console.error(error);
    process.exitCode = 1;
  });
}
