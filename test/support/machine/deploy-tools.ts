import { execFile } from 'node:child_process';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { installPythonTools } from './python-tools';

const run = promisify(execFile);
const moduleDirectory = resolve(__dirname, '../../../tools/deploy');
const BUILD_TIMEOUT_MS = 900_000;

const packages = {
  helm: 'helm.sh/helm/v3/cmd/helm',
  'compose-go': 'github.com/compose-spec/compose-go/v2/cmd',
};

/** @returns the path of a tool of `tools/deploy/go.mod`; Go's own cache makes a second build a matter of a second. */
export async function buildGoTool(name: keyof typeof packages, directory: string): Promise<string> {
  const path = join(directory, name);
  await run('go', ['-C', moduleDirectory, 'build', '-trimpath', '-o', path, packages[name]], {
    timeout: BUILD_TIMEOUT_MS,
  });
  return path;
}

/** @returns the directory of Python's packages for the checks of `deploy/`. */
export async function installDeployTools(): Promise<string> {
  return await installPythonTools('deploy-tools', join(moduleDirectory, 'requirements.txt'));
}
