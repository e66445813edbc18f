import { isTracingWanted } from '../../../client/tracing';

const endpoint = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:4318' };

describe('traces', () => {
  it.each<NodeJS.ProcessEnv>([
    endpoint,
    { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'http://127.0.0.1:4318/v1/traces' },
    { OTEL_TRACES_EXPORTER: 'otlp' },
    { ...endpoint, OTEL_SDK_DISABLED: 'false' },
  ])('are wanted by %j', (env) => {
    expect(isTracingWanted(env)).toBe(true);
  });

  it.each<NodeJS.ProcessEnv>([
    {},
    { OTEL_EXPORTER_OTLP_ENDPOINT: '' },
    { OTEL_SERVICE_NAME: 'somebody' },
    { ...endpoint, OTEL_TRACES_EXPORTER: 'none' },
    { ...endpoint, OTEL_SDK_DISABLED: 'true' },
  ])('are not wanted by %j', (env) => {
    expect(isTracingWanted(env)).toBe(false);
  });
});
