import { Runtime } from '@temporalio/worker';
import type { RequestMetrics } from '../../api/measure-requests';

/** The API's own metrics, on the SDK's Prometheus endpoint. Install the runtime first. */
export function createApiMetrics(): RequestMetrics {
  const { metricMeter } = Runtime.instance();
  const seconds = metricMeter.createHistogram(
    'ivc_api_request_seconds',
    'float',
    '',
    'How long requests of the block-storage API took, by method, route and status',
  );
  const inFlight = metricMeter.createGauge(
    'ivc_api_requests_in_flight',
    'int',
    '',
    'Requests of the block-storage API that are being answered',
  );
  let answering = 0;
  inFlight.set(answering);
  return {
    begun: () => inFlight.set((answering += 1)),
    ended: ({ method, route, status }, took) => {
      inFlight.set((answering -= 1));
      seconds.record(took, { method, route, status: String(status) });
    },
  };
}
