import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { choosePort, isListening } from '../../../worker/ports';
import { waitFor } from '../../../worker/stack/wait';
import { startService } from './service';

export const rabbitMqPackages = ['rabbitmq-server'];
const START_TIMEOUT_MS = 90_000;
/** No thread of Erlang's spins while it waits: the cores are for what is measured. */
const IDLE = ['+sbwt', 'none', '+sbwtdcpu', 'none', '+sbwtdio', 'none'];

export interface RabbitMq {
  /** As oslo.messaging reads it. */
  url: string;
  stop(this: void): Promise<void>;
}

/** A RabbitMQ node of our own on 127.0.0.1, with the Erlang port mapper that it needs. */
export async function startRabbitMq(directory: string): Promise<RabbitMq> {
  await mkdir(directory, { mode: 0o700 });
  const below = (name: string): string => join(directory, name);
  const [port, distribution, mapper] = await Promise.all([choosePort(0), choosePort(0), choosePort(0)]);
  const lines = [`listeners.tcp.1 = 127.0.0.1:${port}`, 'log.file.level = warning', 'disk_free_limit.absolute = 50MB'];
  await writeFile(below('rabbitmq.conf'), `${lines.join('\n')}\n`);
  const epmd = await startService({
    name: 'epmd',
    command: '/usr/bin/epmd',
    args: ['-address', '127.0.0.1', '-port', String(mapper)],
    directory,
  });
  const node = await startService({
    name: 'rabbitmq',
    command: '/usr/lib/rabbitmq/bin/rabbitmq-server',
    args: [],
    env: {
      HOME: directory,
      // The script then becomes Erlang, in place of a shell that waits for it.
      RUNNING_UNDER_SYSTEMD: 'true',
      ERL_EPMD_ADDRESS: '127.0.0.1',
      ERL_EPMD_PORT: String(mapper),
      RABBITMQ_NODENAME: 'bench@localhost',
      RABBITMQ_NODE_IP_ADDRESS: '127.0.0.1',
      RABBITMQ_NODE_PORT: String(port),
      RABBITMQ_DIST_PORT: String(distribution),
      RABBITMQ_MNESIA_BASE: below('mnesia'),
      RABBITMQ_LOG_BASE: below('log'),
      RABBITMQ_CONFIG_FILE: below('rabbitmq.conf'),
      RABBITMQ_ENABLED_PLUGINS_FILE: below('plugins'),
      RABBITMQ_PID_FILE: below('pid'),
      RABBITMQ_CONF_ENV_FILE: '/dev/null',
      RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: `-kernel inet_dist_use_interface {127,0,0,1} ${IDLE.join(' ')}`,
    },
    directory,
  });
  const stop = async (): Promise<void> => {
    await node.stop();
    await epmd.stop();
  };
  try {
    await waitFor(async () => (await isListening(port)) || undefined, {
      what: 'RabbitMQ to listen',
      deadlineMs: START_TIMEOUT_MS,
      unless: () => node.assertRunning(),
    });
  } catch (error) {
    await stop();
    throw error;
  }
  return { url: `rabbit://guest:guest@127.0.0.1:${port}/`, stop };
}
