import { spawn, type ChildProcess } from 'node:child_process';
import type { Connection } from '../../../workflows/contract/volume';
import { ensureTools } from '../machine/debian-packages';
import { guestLines } from './boot-scripts';
import { qemuDrive } from '../../../client/cli/output/attach';

/** Emulated from the firmware to the root file system: a few seconds on an idle core. */
const LIFETIME_MS = 90_000;
const MEMORY_MIB = 256;
const SERIAL_TAIL_CHARACTERS = 4000;
const QEMU = 'qemu-system-x86_64';

/** A machine that runs from a volume. */
export interface Guest {
  /** Resolves when the guest runs from its own disk and has written `mark` there. @returns the marks it had found before. */
  untilMarked(): Promise<string[]>;
  /** Lets the guest unmount and switch itself off. */
  powerOff(): Promise<void>;
  /** Ends it at once; an ended one is done. */
  kill(): Promise<void>;
}

export async function ensureQemu(): Promise<void> {
  await ensureTools({ [QEMU]: 'qemu-system-x86', 'qemu-img': 'qemu-utils' });
}

/** Boots a volume by nothing but its connection; the guest knows its mark as the machine's serial number. */
export function bootGuest(connection: Connection, mark: string): Guest {
  // The kernel ends it with this process, however that ends.
  const command = ['--pdeathsig', 'KILL', QEMU, ...qemuArguments(connection, mark)];
  const child = spawn('setpriv', command, { stdio: ['pipe', 'pipe', 'pipe'] });
  const kill = () => void child.kill('SIGKILL');
  const deadline = setTimeout(kill, LIFETIME_MS);
  const serial = readSerial(child);
  // Input to a guest that has ended is lost; its end is reported as such.
  child.stdin.on('error', () => undefined);
  const ended = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('close', (code, signal) => resolve(signal ?? String(code)));
  }).finally(() => clearTimeout(deadline));
  const died = async (): Promise<never> => {
    throw new Error(`the guest ${mark} ended (${await ended}):\n${serial.text().slice(-SERIAL_TAIL_CHARACTERS)}`);
  };
  return {
    untilMarked: async () => {
      await Promise.race([serial.until(`${guestLines.wrote} ${mark}`), died()]);
      return parseMarks(serial.text());
    },
    powerOff: async () => {
      child.stdin.end(`${guestLines.powerOff}\n`);
      if ((await ended) !== '0') await died();
    },
    kill: async () => {
      kill();
      await ended;
    },
  };
}

/** Emulation alone: nested virtualization is missing, or worse, broken, on many machines that run tests. */
function qemuArguments(connection: Connection, mark: string): string[] {
  const machine = ['-accel', 'tcg', '-m', String(MEMORY_MIB), '-nodefaults', '-no-user-config', '-no-reboot'];
  const screenless = ['-display', 'none', '-chardev', 'stdio,id=serial,signal=off', '-serial', 'chardev:serial'];
  const identity = ['-smbios', `type=1,serial=${mark}`];
  return [...machine, ...screenless, ...identity, '-drive', qemuDrive(connection).slice('-drive '.length)];
}

function readSerial(child: ChildProcess): { text(): string; until(line: string): Promise<void> } {
  let text = '';
  let listeners: (() => void)[] = [];
  for (const stream of [child.stdout, child.stderr])
    stream?.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
      listeners.forEach((listener) => listener());
    });
  return {
    text: () => text,
    until: async (line) => {
      await new Promise<void>((resolve) => {
        const look = () => {
          if (text.includes(`${line}\r\n`)) resolve();
        };
        listeners = [...listeners, look];
        look();
      });
    },
  };
}

function parseMarks(text: string): string[] {
  const [, marks = ''] = new RegExp(`${guestLines.found} (.*)\\r\\n`).exec(text) ?? [];
  return marks.split('+').filter((mark) => mark !== 'none');
}
