import { GiB } from '../../workflows/contract/bytes';
import type { CommandLimits } from '../command';
import { chooseConfinement, type Confinement } from '../confinement';

export interface ToolSettings {
  /** The user that qemu-img drops to where the worker is root; undefined: none. */
  userId?: number;
  /** Limits of one conversion. */
  timeoutMs: number;
  cpuMs: number;
  addressSpaceBytes: number;
  openFiles: number;
}

/** How qemu-img is run where it reads tenants' bytes. */
export interface ToolGuard {
  confinement: Confinement;
  limits: CommandLimits;
  timeoutMs: number;
}

/** Enough for a healthy image of 2 TiB. The user id is one that distributions and systemd leave unused. */
export const defaultToolSettings: ToolSettings = {
  userId: 60_641,
  timeoutMs: 2 * 3_600_000,
  cpuMs: 4 * 3_600_000,
  addressSpaceBytes: 4 * GiB,
  openFiles: 64,
};

/** Looks what this host allows: a few short processes. */
export async function createToolGuard(settings: ToolSettings): Promise<ToolGuard> {
  const { userId, timeoutMs, cpuMs, addressSpaceBytes, openFiles } = settings;
  return {
    confinement: await chooseConfinement({ userId }),
    limits: { cpuSeconds: Math.ceil(cpuMs / 1000), addressSpaceBytes, openFiles },
    timeoutMs,
  };
}

/** @returns the guard of who was not given one: nobody reads tenants' bytes without. */
export async function getDefaultToolGuard(): Promise<ToolGuard> {
  return await (defaultGuard ??= createToolGuard(defaultToolSettings));
}
let defaultGuard: Promise<ToolGuard> | undefined;
