import type * as openTelemetryModule from './open-telemetry';

/** Whether OpenTelemetry's variables ask for traces, which nothing else does. */
export function isTracingWanted(env: NodeJS.ProcessEnv = process.env): boolean {
  if (env['OTEL_SDK_DISABLED']?.toLowerCase() === 'true') return false;
  const exporters = env['OTEL_TRACES_EXPORTER'];
  if (exporters) return exporters.split(',').some((name) => name.trim() === 'otlp');
  return Boolean(env['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT'] || env['OTEL_EXPORTER_OTLP_ENDPOINT']);
}

let opened: openTelemetryModule.OpenTelemetry | undefined;

/** Opens OpenTelemetry, once in a process. @returns undefined where no traces are wanted: nothing of it is loaded then. */
export function findTracing(
  options?: openTelemetryModule.OpenTelemetryOptions,
): openTelemetryModule.OpenTelemetry | undefined {
  if (!isTracingWanted()) return undefined;
  const { openTelemetry }: typeof openTelemetryModule = require('./open-telemetry');
  return (opened ??= openTelemetry(options));
}
