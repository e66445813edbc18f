import {
  context,
  diag,
  DiagLogLevel,
  propagation,
  ProxyTracerProvider,
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  trace,
  type Span,
} from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { envDetectorSync, Resource } from '@opentelemetry/resources';
import { BasicTracerProvider, BatchSpanProcessor, type SpanProcessor } from '@opentelemetry/sdk-trace-base';
import type { ClientInterceptors } from '@temporalio/client';
import type { Payload } from '@temporalio/common';
import { OpenTelemetryWorkflowClientInterceptor } from '@temporalio/interceptors-opentelemetry/lib/client';
import { headersWithContext } from '@temporalio/interceptors-opentelemetry/lib/instrumentation';
import { errorMessage } from '../lib/error-message';
import { notTraced, traceBy, type Tracing } from '../lib/traced';

export interface OpenTelemetryOptions {
  /** Unless OTEL_SERVICE_NAME says another. */
  serviceName?: string;
  /** Told what keeps spans from their collector; default: a warning of Node. */
  onProblem?: (problem: string) => void;
}

/** The traces of this process. */
export interface OpenTelemetry {
  readonly resource: Resource;
  readonly processor: SpanProcessor;
  /** Of a Temporal client: the spans of its calls, and their context in the headers of what they start. */
  interceptors(): ClientInterceptors;
  /** The same headers, for a call of the service itself. */
  headers(): Record<string, Payload>;
  /** Sends what has ended. Never throws: a collector that is away ends no work. */
  flush(): Promise<void>;
}

/** How long ended spans may take to be sent at the end of a process. */
const FLUSH_MS = 5000;

/**
 * Sends spans by OTLP as OpenTelemetry's variables say. An application that has installed OpenTelemetry itself keeps
 * its own: spans of the library go where its others do.
 */
export function openTelemetry({
  serviceName = 'image-volume-cache',
  onProblem = (problem) => process.emitWarning(problem, 'TracingWarning'),
}: OpenTelemetryOptions = {}): OpenTelemetry {
  const resource = Resource.default()
    .merge(new Resource({ 'service.name': serviceName }))
    .merge(envDetectorSync.detect());
  const processor = new BatchSpanProcessor(new OTLPTraceExporter());
  const provider = new BasicTracerProvider({
    resource,
    spanProcessors: [processor],
    forceFlushTimeoutMillis: FLUSH_MS,
  });
  provider.register({ contextManager: new AsyncLocalStorageContextManager().enable() });
  if (isGlobal(provider)) tellProblems(onProblem);
  traceBy(spansOf(serviceName));
  return {
    resource,
    processor,
    interceptors: () => ({ workflow: [new OpenTelemetryWorkflowClientInterceptor()] }),
    headers: () => headersWithContext({}),
    flush: async () => {
      try {
        await provider.forceFlush();
      } catch (error) {
        onProblem(`spans could not be sent: ${[error].flat().map(errorMessage).join(', ')}`);
      }
    },
  };
}

function isGlobal(provider: BasicTracerProvider): boolean {
  const found = trace.getTracerProvider();
  return found instanceof ProxyTracerProvider && found.getDelegate() === provider;
}

function tellProblems(onProblem: (problem: string) => void): void {
  const ignore = (): void => undefined;
  diag.setLogger(
    { error: onProblem, warn: onProblem, info: ignore, debug: ignore, verbose: ignore },
    DiagLogLevel.WARN,
  );
}

function spansOf(tracerName: string): Tracing {
  const tracer = trace.getTracer(tracerName);
  return async ({ name, attributes, mayBegin = false }, work) => {
    if (!mayBegin && trace.getActiveSpan() === undefined) return await work(notTraced);
    const kind = mayBegin ? SpanKind.INTERNAL : SpanKind.CLIENT;
    return await tracer.startActiveSpan(name, { kind, attributes }, async (span) => {
      try {
        return await work({
          say: (more) => void span.setAttributes(more),
          rename: (better) => void span.updateName(better),
          headers: activeHeaders,
          link: (header) => linkTo(span, header),
          isTraced: true,
        });
      } catch (error) {
        // Its message may hold what was asked for.
        span.setAttribute('error.type', typeOf(error)).setStatus({ code: SpanStatusCode.ERROR });
        throw error;
      } finally {
        span.end();
      }
    });
  };
}

function activeHeaders(): Record<string, string> {
  const headers: Record<string, string> = {};
  propagation.inject(context.active(), headers);
  return headers;
}

function linkTo(span: Span, header: Record<string, string>): void {
  const other = trace.getSpanContext(propagation.extract(ROOT_CONTEXT, header));
  if (other !== undefined && other.traceId !== span.spanContext().traceId) span.addLink({ context: other });
}

function typeOf(error: unknown): string {
  if (!(error instanceof Error)) return typeof error;
  if ('type' in error && typeof error.type === 'string') return error.type;
  return 'code' in error && typeof error.code === 'string' ? error.code : error.name;
}
