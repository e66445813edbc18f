import { onCommandStarted } from '../../../activities/command';

let started = 0;
onCommandStarted(() => (started += 1));

/** @returns how many processes this process has started through `runCommand`. */
export function commandsStarted(): number {
  return started;
}
