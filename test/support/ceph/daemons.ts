import { once } from 'node:events';
import { createServer, request, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { startPart, type Part } from '../../../worker/stack/part';

/** In the order in which they stop. */
export const daemonNames = ['osd.0', 'mgr.x', 'mon.a'] as const;
export type DaemonName = (typeof daemonNames)[number];

/** Control of the daemons of a cluster, whichever process they belong to. */
export interface DaemonControl {
  start(name: DaemonName): Promise<void>;
  /** Does nothing when the daemon has ended. @param signal SIGKILL is a crash. */
  stop(name: DaemonName, signal: NodeJS.Signals): Promise<void>;
}

/** The daemons of one cluster as children of this process. The kernel kills them when this process dies, however it dies. */
export class Daemons implements DaemonControl {
  private readonly parts = new Map<DaemonName, Part>();

  constructor(
    private readonly confPath: string,
    private readonly logDirectory: string,
  ) {
    // Before other listeners, which may remove the files that the daemons write.
    process.prependOnceListener('exit', () => {
      for (const part of this.parts.values()) process.kill(part.process.pid, 'SIGKILL');
    });
  }

  async start(name: DaemonName): Promise<void> {
    if (this.parts.has(name)) throw new Error(`${name} is running already`);
    const [type, id = ''] = name.split('.');
    const part = await startPart({
      name,
      command: '/usr/bin/setpriv',
      args: ['--pdeathsig', 'KILL', `/usr/bin/ceph-${type}`, '-f', '--conf', this.confPath, '--id', id],
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' },
      cwd: '/',
      logPath: join(this.logDirectory, `${name}.out`),
    });
    this.parts.set(name, part);
    void part.exited.then(() => this.parts.delete(name));
  }

  async stop(name: DaemonName, signal: NodeJS.Signals): Promise<void> {
    const part = this.parts.get(name);
    if (part === undefined) return;
    process.kill(part.process.pid, signal);
    await part.stop();
  }

  /** @throws Error when one of them is not running. */
  assertRunning(names: readonly DaemonName[]): void {
    const ended = names.filter((name) => !this.parts.has(name));
    if (ended.length > 0) throw new Error(`${ended.join(', ')} ended`);
  }
}

/** Lets other processes control the daemons through a socket, as long as this process runs. */
export async function serveDaemons(daemons: DaemonControl, socketPath: string): Promise<void> {
  const server = createServer((call, answer) => {
    const [, verb, name, signal] = (call.url ?? '').split('/') as ['', keyof DaemonControl, DaemonName, NodeJS.Signals];
    daemons[verb](name, signal).then(
      () => answer.end(),
      (error: unknown) => answer.writeHead(500).end(String(error)),
    );
  });
  server.listen(socketPath).unref();
  await once(server, 'listening');
}

/** The daemons that another process serves. */
export function findDaemons(socketPath: string): DaemonControl {
  const post = async (...path: string[]): Promise<void> => {
    const call = request({ socketPath, method: 'POST', path: `/${path.join('/')}`, agent: false }).end();
    const [answer] = (await once(call, 'response')) as [IncomingMessage];
    const text = (await answer.toArray()).join('');
    if (answer.statusCode !== 200) throw new Error(text);
  };
  return {
    start: async (name) => await post('start', name),
    stop: async (name, signal) => await post('stop', name, signal),
  };
}
