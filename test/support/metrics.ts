/** @returns the sum of all samples of a Prometheus counter, of those whose labels contain `label` where it is given. */
export async function readCounter(url: string, name: string, label = ''): Promise<number> {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: ${response.status}`);
  const samples = (await response.text())
    .split('\n')
    .filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `));
  return samples
    .filter((line) => line.includes(label))
    .reduce((total, line) => total + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
}

/** @returns the peak resident memory of a process so far, in bytes. Source: proc_pid_status(5), VmHWM. */
export function parsePeakRssBytes(status: string): number {
  const match = /^VmHWM:\s+(\d+) kB$/m.exec(status);
  if (!match) throw new Error('no VmHWM in the status');
  return Number(match[1]) * 1024;
}
