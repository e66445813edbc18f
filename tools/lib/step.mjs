import { spawn } from 'node:child_process';
import { appendFileSync, mkdirSync, rmSync } from 'node:fs';
import { join, relative } from 'node:path';
import { root, ToolError } from './run.mjs';

/** Output of the programs of the steps, of this run alone. */
const logPath = join(root, 'dist/set-up.log');
const TITLE_WIDTH = 22;
const TAIL_LINES = 15;
/** Without a terminal, a step that takes longer says so as often as this. */
const STILL_INTERVAL_MS = 15_000;

let logStarted = false;

/**
 * Does one step of a set-up, which is a line of its own with a tick and the time it took: on a terminal the line shows meanwhile what the step is at.
 * `work` gets `run`, which starts a program whose output goes to the log, and `say`, for a line about progress.
 * @throws ToolError with the end of the log, which it names.
 */
export async function step(title, work) {
  const startedMs = performance.now();
  const line = createLine(title);
  try {
    const result = await work({
      run: (command, args, options) => runLogged(line.say, [command, ...args], options),
      say: line.say,
    });
    line.end(`\u2713 ${title.padEnd(TITLE_WIDTH)} ${((performance.now() - startedMs) / 1000).toFixed(1)} s`);
    return result;
  } catch (error) {
    line.end(`\u2717 ${title}`);
    throw error;
  }
}

/** Both streams go to the log. */
function runLogged(say, [command, ...args], options = {}) {
  startLog();
  const child = spawn(command, args, { cwd: root, ...options, stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => {
      appendFileSync(logPath, text);
      said = (said + text).slice(-16_384);
      say(lastLine(said));
    });
  }
  return new Promise((done, fail) => {
    child.once('error', (error) => fail(new ToolError(`${command} cannot be started: ${error.message}`)));
    child.once('close', (code) => (code === 0 ? done() : fail(failure(`${command} ${args.join(' ')}`, code, said))));
  });
}

function failure(program, code, said) {
  const tail = said.trimEnd().split('\n').slice(-TAIL_LINES);
  const ending = code === null ? 'was ended by a signal' : `failed with exit code ${code}`;
  return new ToolError(
    [`${program} ${ending}; the end of ${relative(process.cwd(), logPath)}:`, ...tail.map((text) => `  ${text}`)].join(
      '\n',
    ),
  );
}

function startLog() {
  if (logStarted) return;
  logStarted = true;
  mkdirSync(join(root, 'dist'), { recursive: true });
  rmSync(logPath, { force: true });
}

function lastLine(text) {
  return (
    text
      .trimEnd()
      .split(/[\r\n]+/)
      .at(-1) ?? ''
  );
}

/** On a terminal one line that is written again and again, elsewhere a line at the end. */
function createLine(title) {
  const { stderr } = process;
  if (!stderr.isTTY) {
    let last = '';
    const timer = setInterval(() => stderr.write(`  ${title}: ${last || 'still running'}\n`), STILL_INTERVAL_MS);
    return {
      say: (text) => (last = text),
      end: (text) => {
        clearInterval(timer);
        stderr.write(`${text}\n`);
      },
    };
  }
  const write = (text) => {
    const line = text.replaceAll(/[^\x20-\x7e\u2713\u2717]/g, ' ').slice(0, (stderr.columns || 80) - 1);
    stderr.write(`\r\x1b[K${line}`);
  };
  write(`  ${title} `);
  return {
    say: (text) => write(`  ${title.padEnd(TITLE_WIDTH)} ${text}`),
    end: (text) => {
      write(text);
      stderr.write('\n');
    },
  };
}
