import {
  makeWorkflowExporter,
  OpenTelemetryActivityInboundInterceptor,
  OpenTelemetryActivityOutboundInterceptor,
} from '@temporalio/interceptors-opentelemetry/lib/worker';
import type { OpenTelemetryWorkflowExporter } from '@temporalio/interceptors-opentelemetry/lib/workflow';
import type { ActivityInterceptorsFactory, InjectedSink, InjectedSinks } from '@temporalio/worker';
import type { WorkflowInfo } from '@temporalio/workflow';
import type { OpenTelemetry } from '../client/open-telemetry';

/** A worker's interceptors where traces are wanted. */
export interface WorkerTracing {
  activity: ActivityInterceptorsFactory;
  sinks: InjectedSinks<{ exporter: OpenTelemetryWorkflowExporter }>;
}

export function createWorkerTracing({ processor, resource }: OpenTelemetry): WorkerTracing {
  return {
    activity: (context) => ({
      inbound: new OpenTelemetryActivityInboundInterceptor(context),
      outbound: new OpenTelemetryActivityOutboundInterceptor(context),
    }),
    sinks: { exporter: namingTheRun(makeWorkflowExporter(processor, resource)) },
  };
}

/** The SDK's exporter gives spans all that is known of a run, its memo and search attributes included. */
function namingTheRun(sink: InjectedSink<OpenTelemetryWorkflowExporter>): InjectedSink<OpenTelemetryWorkflowExporter> {
  return {
    export: {
      fn: ({ workflowId, runId, workflowType, taskQueue }, spans) =>
        sink.export.fn({ workflowId, runId, workflowType, taskQueue } as WorkflowInfo, spans),
    },
  };
}
