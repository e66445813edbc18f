/** Attributes of a span: names of OpenTelemetry's semantic conventions, never a value of a request. */
export type SpanAttributes = Record<string, string | number>;

export interface SpanOf {
  name: string;
  attributes: SpanAttributes;
  /** Begins a trace where there is none; default: work that belongs to no trace has no span. */
  mayBegin?: boolean;
}

/** Takes notes from the work of a span. */
export interface SpanNotes {
  say: (more: SpanAttributes) => void;
  rename: (name: string) => void;
  /** Headers by which a service that is asked goes on with the trace, `traceparent` of W3C by default. */
  headers: () => Record<string, string>;
  /** Points to the span of another trace that such a header names. */
  link: (header: Record<string, string>) => void;
  /** False: nobody sees what is said, and nothing need be found out for it. */
  isTraced: boolean;
}

/** Makes the spans of this process. */
export type Tracing = <T>(span: SpanOf, work: (notes: SpanNotes) => Promise<T>) => Promise<T>;

export const notTraced: SpanNotes = {
  say: () => undefined,
  rename: () => undefined,
  headers: () => ({}),
  link: () => undefined,
  isTraced: false,
};
let tracing: Tracing | undefined;

/** From now on `traced` makes spans. */
export function traceBy(how: Tracing): void {
  tracing = how;
}

/** Runs `work` in a span, which ends with it; where nothing is traced it is called and nothing else. */
export function traced<T>(span: () => SpanOf, work: (notes: SpanNotes) => Promise<T>): Promise<T> {
  return tracing === undefined ? work(notTraced) : tracing(span(), work);
}

/** Of a request to an HTTP service: neither its query nor its headers. */
export function httpSpan({ service, method, url }: { service: string; method: string; url: string }): SpanOf {
  const { hostname, port, protocol, pathname } = new URL(url);
  return {
    name: `${method} ${service}`,
    attributes: {
      'http.request.method': method,
      'server.address': hostname,
      'server.port': Number(port || (protocol === 'https:' ? 443 : 80)),
      'url.path': pathname,
    },
  };
}
