/** `test.mjs [suite…] [-- jest arguments]`: from a fresh checkout, sets up, builds and runs the suites; without a name, those that need nothing else. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from './build.mjs';
import { makeMemoryDirectory } from './lib/memory-directory.mjs';
import { exitCodeOf, main, root, ToolError } from './lib/run.mjs';

/** A run ends within this time after its report. */
const SECONDS_TO_END = 20;
const DEFAULT_SUITES = ['unit', 'replay', 'conformance', 'integration'];
/** Their files are small; those of a cluster, a cloud and the disk of a guest are not. */
const IN_MEMORY = ['unit', 'replay', 'conformance', 'workflow'];

await main(async (args) => {
  const { suites, jestArguments } = parseArguments(args);
  await build();
  if (suites.every((suite) => IN_MEMORY.includes(suite))) process.env.TMPDIR ??= makeMemoryDirectory() ?? tmpdir();
  const { exitCode, report } = await runJest(suites, jestArguments);
  const { passed, failed, skipped } = count(report);
  console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`);
  if (exitCode === 0 && skipped > 0 && !choosesByName(jestArguments))
    throw new ToolError('a skipped test proves nothing: run it or remove it');
  if (exitCode === 0 && passed === 0) throw new ToolError(`no test ran in ${suites.join(', ')}`);
  return exitCode === 0 && failed > 0 ? 1 : exitCode;
});

/** Suites come first; everything from `--`, from the first option or path, or from the first word after them that names none is jest's. */
function parseArguments(args) {
  const suiteNames = knownSuites();
  const end = args.findIndex((arg, index) => /^-|\//.test(arg) || (index > 0 && !suiteNames.includes(arg)));
  const named = end < 0 ? args : args.slice(0, end);
  const jestArguments = end < 0 ? [] : args.slice(end).filter((arg, index) => index > 0 || arg !== '--');
  for (const suite of named) {
    if (!suiteNames.includes(suite))
      throw new ToolError(`there is no suite ${suite}; there are ${suiteNames.join(', ')}`);
    if (!hasTests(suite)) throw new ToolError(`the suite ${suite} has no test: test/${suite} holds no file *.test.ts`);
  }
  const suites = named.length > 0 ? named : DEFAULT_SUITES.filter(hasTests);
  if (suites.length === 0) throw new ToolError('there is no test');
  return { suites, jestArguments };
}

/** Jest reports as skipped what a name pattern leaves out. */
function choosesByName(jestArguments) {
  return jestArguments.some((arg) => /^(?:-t|--testNamePattern)/.test(arg));
}

function knownSuites() {
  const { projects } = createRequire(import.meta.url)(join(root, 'jest.config.js'));
  return projects.map(({ displayName }) => displayName);
}

function hasTests(suite) {
  const directory = join(root, 'test', suite);
  return (
    existsSync(directory) &&
    readdirSync(directory, { recursive: true }).some((file) => String(file).endsWith('.test.ts'))
  );
}

async function runJest(suites, jestArguments) {
  const directory = mkdtempSync(join(tmpdir(), 'ivc-jest-'));
  const outputFile = join(directory, 'report.json');
  try {
    const jest = join(root, 'node_modules/jest/bin/jest.js');
    // `--ci`: a snapshot that is not committed fails here as it does in CI (`-u` writes it).
    // `--selectProjects` takes all words that follow it, so it comes last.
    const args = [
      jest,
      '--ci',
      ...jestArguments,
      '--json',
      `--outputFile=${outputFile}`,
      '--selectProjects',
      ...suites,
    ];
    const exitCode = await runUntilReported(args, outputFile);
    return { exitCode, report: existsSync(outputFile) ? JSON.parse(readFileSync(outputFile, 'utf8')) : undefined };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Jest waits for ever for what a test has left running: that is a failure, which names what was left. @returns the exit code. */
async function runUntilReported(args, outputFile) {
  const exitCode = exitCodeOf(process.execPath, args);
  let reportedAt;
  const timer = setInterval(() => {
    reportedAt ??= existsSync(outputFile) ? Date.now() : undefined;
    if (reportedAt === undefined || Date.now() - reportedAt < SECONDS_TO_END * 1000) return;
    clearInterval(timer);
    const left = listDescendants(process.pid);
    console.error(`the tests have ended ${SECONDS_TO_END} s ago, and these still run:`);
    for (const { pid, command } of left) console.error(`  ${pid} ${command}`);
    for (const { pid } of left) kill(pid);
  }, 1000);
  try {
    return await exitCode;
  } finally {
    clearInterval(timer);
  }
}

/** @returns the processes below `parent`, those below them first. */
function listDescendants(parent) {
  try {
    const tasks = readdirSync(`/proc/${parent}/task`);
    const pids = tasks.flatMap(
      (task) => readFileSync(`/proc/${parent}/task/${task}/children`, 'utf8').match(/\d+/g) ?? [],
    );
    return pids.map(Number).flatMap((pid) => [...listDescendants(pid), { pid, command: commandOf(pid) }]);
  } catch (error) {
    if (error.code === 'ENOENT' || error.code === 'ESRCH') return [];
    throw error;
  }
}

function kill(pid) {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (error.code !== 'ESRCH') throw error;
  }
}

function commandOf(pid) {
  return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
}

/** A file that cannot even be loaded counts as one failed test. */
function count(report) {
  if (!report) return { passed: 0, failed: 1, skipped: 0 };
  return {
    passed: report.numPassedTests,
    failed: report.numFailedTests + report.numRuntimeErrorTestSuites,
    skipped: report.numPendingTests + report.numTodoTests,
  };
}
