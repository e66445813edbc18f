/** What tests and benches start of the embedded stack, each part by itself. */
export { startPostgres, type PostgresOptions, type PostgresServer } from './postgres';
export { ensureTemporalBinary, type TemporalBinary, type TemporalBinaryOptions } from './temporal-binary';
export { startTemporalServer, type TemporalServer, type TemporalServerOptions } from './temporal-server';
export {
  startImageServiceProcess,
  type ImageServiceProcessOptions,
  type ImageServiceProcess,
} from './image-service-process';
