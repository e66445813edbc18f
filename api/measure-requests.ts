import type { FastifyInstance } from 'fastify';

export interface RequestLabels {
  method: string;
  /** As it is registered, such as `/v3/:project_id/volumes/:volume_id`; `none` of a path of no route. */
  route: string;
  status: number;
}

/** Told of each request that a route could see. */
export interface RequestMetrics {
  begun: () => void;
  ended: (labels: RequestLabels, seconds: number) => void;
}

/** Not a status: the client has gone before its answer. As nginx has it. */
const CLIENT_GONE = 499;

/** To be called before the routes. */
export function measureRequests(app: FastifyInstance, { begun, ended }: RequestMetrics): void {
  app.addHook('onRequest', async ({ method, routeOptions }, reply) => {
    begun();
    reply.raw.once('close', () => {
      const status = reply.raw.writableFinished ? reply.statusCode : CLIENT_GONE;
      ended({ method, route: routeOptions.url ?? 'none', status }, reply.elapsedTime / 1000);
    });
  });
}
