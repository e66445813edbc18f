import { defaultPayloadConverter } from '@temporalio/common';
import { z } from 'zod';
import { traced } from '../../lib/traced';
import type { ControlDependencies } from '../dependencies';

/** Where a start has the context of its trace. Source: TRACE_HEADER of @temporalio/interceptors-opentelemetry. */
const TRACE_HEADER = '_tracer-data';
const contextSchema = z.record(z.string(), z.string());

interface JoinedFlight {
  workflowId: string;
  flight: number;
}

/**
 * In the trace of who joins a flight, the span `join flight` names it and points to its trace, which is that of who has begun it. Where
 * nothing is traced nothing is asked.
 */
export async function linkFlight(deps: ControlDependencies, { workflowId, flight }: JoinedFlight): Promise<void> {
  const span = () => ({
    name: 'join flight',
    attributes: { 'ivc.flight.workflow_id': workflowId, 'ivc.flight.number': flight },
  });
  await traced(span, async ({ link, say, isTraced }) => {
    if (!isTraced) return;
    try {
      link(await readTraceContext(deps, workflowId));
    } catch (error) {
      // A create that joins has joined, whatever becomes of its trace.
      say({ 'error.type': error instanceof Error ? error.name : typeof error });
    }
  });
}

/** @returns what the latest run of a workflow was started with; empty where that was not traced. */
async function readTraceContext(
  { temporal }: ControlDependencies,
  workflowId: string,
): Promise<Record<string, string>> {
  const { namespace } = temporal.options;
  const { history } = await temporal.workflowService.getWorkflowExecutionHistory({
    namespace,
    execution: { workflowId },
    maximumPageSize: 1,
  });
  const payload = history?.events?.[0]?.workflowExecutionStartedEventAttributes?.header?.fields?.[TRACE_HEADER];
  return payload ? contextSchema.parse(defaultPayloadConverter.fromPayload(payload)) : {};
}
