import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { endWithTest } from './test-process';

/** A program on a terminal of its own: its input and output are a pseudo-terminal, of 80 columns by default, that `script` holds. */
export interface OnTerminal {
  /** Resolves when the terminal has shown it. @throws with what it has shown when the program ends before. */
  shows(expected: string): Promise<void>;
  /** As a person types it: `\u0003` is Ctrl-C. */
  type(keys: string): void;
  /** @returns the exit code and all that was shown, control sequences included. */
  ended: Promise<{ exitCode: number | null; screen: string }>;
}

export function startOnTerminal(command: readonly string[], env: NodeJS.ProcessEnv, columns = 80): OnTerminal {
  const quoted = command.map((word) => `'${word.replaceAll("'", String.raw`'\''`)}'`).join(' ');
  const child = endWithTest(
    // Without `stty` the terminal of a pipe has no width.
    spawn('script', ['-qefc', `stty columns ${columns} rows 24; exec ${quoted}`, '/dev/null'], {
      env: { PATH: process.env['PATH'], HOME: process.env['HOME'], TERM: 'xterm-256color', ...env },
      stdio: ['pipe', 'pipe', 'inherit'],
    }),
  );
  let screen = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (screen += text));
  const ended = once(child, 'close').then(([exitCode]) => ({ exitCode: exitCode as number | null, screen }));
  return {
    shows: async (expected) => {
      const over = ended.then(() => 'over' as const);
      while (!screen.includes(expected)) {
        const next = await Promise.race([over, once(child.stdout, 'data')]);
        if (next === 'over' && !screen.includes(expected))
          throw new Error(`the program has ended without showing ${JSON.stringify(expected)}: ${screen}`);
      }
    },
    type: (keys) => child.stdin.write(keys),
    ended,
  };
}
