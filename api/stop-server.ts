import type { FastifyInstance } from 'fastify';

/** Accepts no connection any more, answers what has been asked, and cuts off what is not answered within `graceMs`. */
export async function stopServer(app: FastifyInstance, { graceMs }: { graceMs: number }): Promise<void> {
  const cutOff = setTimeout(() => app.server.closeAllConnections(), graceMs);
  try {
    await app.close();
  } finally {
    clearTimeout(cutOff);
  }
}
