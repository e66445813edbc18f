/** The first SIGINT or SIGTERM aborts `signal`; the next one ends the process as it would without us. */
export function abortOnSignals(): { signal: AbortSignal; release(): void } {
  const controller = new AbortController();
  const abort = (): void => controller.abort();
  const release = (): void => {
    process.off('SIGINT', abort).off('SIGTERM', abort);
  };
  controller.signal.addEventListener('abort', release, { once: true });
  process.once('SIGINT', abort).once('SIGTERM', abort);
  return { signal: controller.signal, release };
}
