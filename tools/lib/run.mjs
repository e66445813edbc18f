import { spawn } from 'node:child_process';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The checkout. */
export const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..');

/** Runs a program in the checkout with this terminal; its output goes to stderr, so that a tool's stdout stays its own result. */
export async function run(command, args, options = {}) {
  const code = await exitCodeOf(command, args, options);
  if (code !== 0) throw new ToolError(`${command} ${args.join(' ')} failed with exit code ${code}`);
}

/** @returns the exit code; 128 and more when a signal ended it. */
export function exitCodeOf(command, args, options = {}) {
  const child = spawn(command, args, { cwd: root, stdio: ['inherit', 2, 2], ...options });
  return new Promise((done, fail) => {
    child.once('error', fail);
    child.once('exit', (code, signal) => done(signal ? 130 : code));
  });
}

/** Runs a program and keeps what it says. @returns its exit code and both streams as one text. */
export function capture(command, args, options = {}) {
  const child = spawn(command, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'], ...options });
  const chunks = [];
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => chunks.push(chunk));
  return new Promise((done) => {
    child.once('error', (error) => done({ code: 127, output: error.message }));
    child.once('close', (code) => done({ code: code ?? 130, output: Buffer.concat(chunks).toString() }));
  });
}

/** A fault that its one line explains. */
export class ToolError extends Error {}

/** Runs a tool's main function; a fault becomes one line on stderr and exit code 1. */
export async function main(tool) {
  try {
    process.exitCode = (await tool(process.argv.slice(2))) ?? 0;
  } catch (error) {
    console.error(error instanceof ToolError ? error.message : error);
    process.exitCode = 1;
  }
}

/** @returns whether `moduleUrl` is the program that node was started with. */
export function isMain(moduleUrl) {
  return process.argv[1] !== undefined && resolve(process.argv[1]) === fileURLToPath(moduleUrl);
}
