/** Runs in the workflows' sandbox, where traces are wanted: the SDK's interceptors, with ids of their own randomness. */
// The first import: OpenTelemetry takes the sandbox for a browser, and this makes it one.
import {
  OpenTelemetryInboundInterceptor,
  OpenTelemetryInternalsInterceptor,
  OpenTelemetryOutboundInterceptor,
} from '@temporalio/interceptors-opentelemetry/lib/workflow';
import { BasicTracerProvider, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { SpanExporter } from '@temporalio/interceptors-opentelemetry/lib/workflow/span-exporter';
import { getRandomStream, type WorkflowInterceptorsFactory } from '@temporalio/workflow';

/**
 * The SDK's own draw their ids from the `Math.random` of the workflow: its own ids would then differ with tracing
 * switched on or off, and a run that goes on meanwhile could not be replayed.
 */
const idGenerator = {
  generateTraceId: () => randomHex(16),
  generateSpanId: () => randomHex(8),
};

function randomHex(bytes: number): string {
  const stream = getRandomStream('image-volume-cache/spans');
  const randomByte = (): string =>
    Math.floor(stream.random() * 256)
      .toString(16)
      .padStart(2, '0');
  return Array.from({ length: bytes }, randomByte).join('');
}

const tracer = new BasicTracerProvider({
  idGenerator,
  spanProcessors: [new SimpleSpanProcessor(new SpanExporter())],
}).getTracer('@temporalio/interceptor-workflow');

class Inbound extends OpenTelemetryInboundInterceptor {
  protected override readonly tracer = tracer;
}

class Outbound extends OpenTelemetryOutboundInterceptor {
  protected override readonly tracer = tracer;
}

export const interceptors: WorkflowInterceptorsFactory = () => ({
  inbound: [new Inbound()],
  outbound: [new Outbound()],
  internals: [new OpenTelemetryInternalsInterceptor()],
});
