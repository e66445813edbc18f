import { existsSync } from 'node:fs';
import { basename, join } from 'node:path';
import { bundleWorkflowCode, DefaultLogger } from '@temporalio/worker';
import { writeFileAtomically } from '../../../lib/files';

/**
 * Bundles the sources of the workflows with at most one module of interceptors, once for a whole run of jest.
 * @returns the path of the bundle.
 */
export async function ensureWorkflowBundle(interceptorModule?: string): Promise<string> {
  const name = interceptorModule === undefined ? 'plain' : basename(interceptorModule, '.ts');
  const path = join(process.env['IVC_TEST_DIRECTORY'] ?? '', `workflows-${name}.js`);
  if (existsSync(path)) return path;
  const { code } = await bundleWorkflowCode({
    workflowsPath: require.resolve('../../../workflows'),
    payloadConverterPath: require.resolve('../../../worker/payload-converter'),
    workflowInterceptorModules: interceptorModule === undefined ? [] : [interceptorModule],
    logger: new DefaultLogger('ERROR'),
  });
  // Workers of jest that bundle it at the same time write the same.
  writeFileAtomically(path, code);
  return path;
}
