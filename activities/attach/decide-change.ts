import type { AttachmentDecision, HeldVolume } from '../../db/attachments';
import type { AttachmentRow, VolumeRow } from '../../db/schema';
import {
  attachModes,
  type AttachmentChange,
  type AttachmentChangeKind,
  type AttachMode,
  type Connector,
} from '../../workflows/contract/attachment';
import { Failure } from '../../workflows/contract/failures';
import type { HeldStatus } from '../../workflows/contract/volume';
import { MAX_NAME_CHARACTERS } from '../../workflows/contract/volume-changes';
import { nameHolder } from '../kit/name-holder';

/** A change of attachments that is asked for, with an id for the one that may be made. */
export interface AskedChange extends Omit<AttachmentChange, 'attachmentId'> {
  givenId: string | undefined;
  newId: string;
  now: Date;
}

/**
 * Decides as Cinder does what a change makes of a volume and its attachments; undefined: nothing. Source: `cinder.volume.api.API`, `attachment_…`.
 * @throws VolumeNotReady, VolumeInUse, AttachmentNotFound, AttachmentInUse, InvalidRequest (final).
 */
export function decideChange(held: HeldVolume, asked: AskedChange): AttachmentDecision | undefined {
  const { volume } = held;
  if (volume.state !== 'available') throw notReady(volume, ['available']);
  return decisions[asked.change](held, asked);
}

const decisions: Record<
  AttachmentChangeKind,
  (held: HeldVolume, asked: AskedChange) => AttachmentDecision | undefined
> = {
  create: (held, asked) => {
    const { volume, attachments } = held;
    const { instanceId = null, connector } = asked;
    const { status: former } = volume;
    const isMove =
      (former === 'in-use' || former === 'reserved') &&
      instanceId !== null &&
      attachments.some((attachment) => attachment.instanceId === instanceId);
    if (!isMove) expectStatus(volume, unheld(volume));
    const reserved: AttachmentRow = {
      ...newAttachment(volume, asked),
      instanceId,
      mode: modeOf(volume, asked.mode),
      status: 'reserved',
    };
    if (connector === undefined)
      return { ...hold(held, isMove ? former : 'reserved', reserved), event: 'volume.reserved' };
    return connect(held, reserved, { connector, now: asked.now });
  },
  connect: (held, { connector = {}, now, ...asked }) => {
    const attachment = attachmentOf(held, asked);
    const { volume, attachments } = held;
    if (volume.status?.startsWith('error')) throw notReady(volume, ['available', 'reserved', 'attaching', 'in-use']);
    const other = attachments.find(({ id, connector: of }) => id !== attachment.id && of !== null);
    if (other !== undefined && !volume.multiattach)
      throw new Failure('VolumeInUse', { volumeId: volume.id, by: nameHolder(other) });
    return connect(held, attachment, { connector, now });
  },
  complete: (held, asked) => {
    const attached: AttachmentRow = { ...attachmentOf(held, asked), status: 'attached' };
    return { ...hold(held, 'in-use', attached), event: 'volume.attached' };
  },
  delete: (held, asked) => {
    const attachment = held.attachments.find(({ id }) => id === asked.givenId);
    if (attachment === undefined) return undefined;
    if (asked.byService !== true) expectUnused(attachment);
    return end(held, attachment);
  },
  reserve: (held) => {
    expectStatus(held.volume, unheld(held.volume));
    return { ...hold(held, 'attaching'), event: 'volume.reserved' };
  },
  unreserve: (held) => unreserve(held),
  'begin-detaching': (held) => {
    expectStatus(held.volume, ['in-use']);
    return { ...hold(held, 'detaching'), event: 'volume.detaching' };
  },
  'roll-detaching': (held) =>
    held.volume.status === 'detaching' ? { ...hold(held, 'in-use'), event: 'volume.attached' } : undefined,
  attach: (held, asked) => {
    const { volume, attachments } = held;
    const { instanceId = null, hostName = null, mountpoint = null, now } = asked;
    const mode = modeOf(volume, asked.mode ?? 'rw');
    const known = attachments.find((attachment) =>
      instanceId === null ? attachment.hostName === hostName : attachment.instanceId === instanceId,
    );
    if (known !== undefined) return { ...hold(held, 'in-use', known), event: 'volume.attached' };
    expectStatus(volume, [...unheld(volume), 'attaching']);
    const attached: AttachmentRow = {
      ...newAttachment(volume, asked),
      instanceId,
      hostName,
      mountpoint,
      mode,
      status: 'attached',
      attachedAt: now,
    };
    return { ...hold(held, 'in-use', attached), event: 'volume.attached' };
  },
  detach: (held, asked) => {
    const { volume, attachments } = held;
    if (volume.status === 'maintenance') throw notReady(volume, ['in-use', 'detaching']);
    if (asked.givenId === undefined && attachments.length > 1) {
      if (asked.byService !== true) throw inUse(volume, 'several');
      const allowed = 'the id of an attachment, since there are several';
      throw new Failure('InvalidRequest', { field: 'attachmentId', value: 'none', allowed });
    }
    const meant = asked.givenId === undefined ? attachments[0] : attachments.find(({ id }) => id === asked.givenId);
    if (asked.byService !== true) {
      if (meant !== undefined) expectUnused(meant);
      else if (asked.givenId !== undefined) throw new Failure('AttachmentNotFound', { attachmentId: asked.givenId });
    }
    return end(held, meant);
  },
  disconnect: (held, { byService }) => {
    const [only, another] = held.attachments;
    if (byService !== true && another !== undefined) throw inUse(held.volume, 'several');
    if (byService !== true && only !== undefined) expectUnused(only);
    return unreserve(held);
  },
};

/** Statuses in which a volume may be given to somebody else. */
function unheld({ multiattach }: VolumeRow): (HeldStatus | null)[] {
  return multiattach ? [null, 'in-use'] : [null];
}

function expectStatus(volume: VolumeRow, allowed: readonly (HeldStatus | null)[]): void {
  if (!allowed.includes(volume.status)) throw notReady(volume, allowed);
}

function notReady({ id, state, status }: VolumeRow, allowed: readonly (HeldStatus | null | 'available')[]): Failure {
  const words = allowed.map((one) => one ?? 'available').join(' or ');
  return new Failure('VolumeNotReady', { volumeId: id, state: status ?? state, allowed: words });
}

function inUse({ id }: Pick<VolumeRow, 'id'>, by: string): Failure {
  return new Failure('AttachmentInUse', { volumeId: id, by: by === 'several' ? 'several servers or hosts' : by });
}

function attachmentOf({ attachments }: HeldVolume, { givenId = '' }: Pick<AskedChange, 'givenId'>): AttachmentRow {
  const found = attachments.find(({ id }) => id === givenId);
  if (found === undefined) throw new Failure('AttachmentNotFound', { attachmentId: givenId });
  return found;
}

function newAttachment({ id: volumeId, projectId }: VolumeRow, { newId: id, now: createdAt }: AskedChange) {
  const nothing = { instanceId: null, hostName: null, mountpoint: null, mode: null, connector: null, attachedAt: null };
  return { id, volumeId, projectId, createdAt, ...nothing };
}

/** @returns null where nobody has said. @throws InvalidRequest where one that is read-only is to be written. */
function modeOf({ readOnly }: VolumeRow, mode: AttachMode | undefined): AttachMode | null {
  if (readOnly && mode === 'rw')
    throw new Failure('InvalidRequest', { field: 'mode', value: mode, allowed: 'ro: the volume is read-only' });
  return readOnly ? 'ro' : (mode ?? null);
}

function connect(
  held: HeldVolume,
  attachment: AttachmentRow,
  { connector, now }: { connector: Connector; now: Date },
): AttachmentDecision {
  const { host, mountpoint, mode: given } = connector;
  const ofConnector = modeOf(
    held.volume,
    attachModes.find((one) => one === given),
  );
  const mode = attachment.mode ?? ofConnector ?? 'rw';
  const attaching: AttachmentRow = {
    ...attachment,
    connector,
    mode,
    hostName: textOf(host) ?? '',
    // As Cinder says of one that names none.
    mountpoint: textOf(mountpoint) ?? 'na',
    status: 'attaching',
    attachedAt: now,
  };
  return { ...hold(held, 'attaching', attaching), event: 'volume.attaching' };
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value.slice(0, MAX_NAME_CHARACTERS) : undefined;
}

function unreserve(held: HeldVolume): AttachmentDecision | undefined {
  if (held.volume.status !== 'attaching') return undefined;
  return { ...hold(held, held.attachments.length > 0 ? 'in-use' : null), event: 'volume.detached' };
}

/** @throws AttachmentInUse where a server has it: the server's writes would go to whoever attaches it next. Source: CVE-2023-2088. */
function expectUnused({ instanceId, connector, volumeId }: AttachmentRow): void {
  if (instanceId !== null && connector !== null) throw inUse({ id: volumeId }, `server ${instanceId}`);
}

/** The volume's status is that of the attachments which are left. */
function end(held: HeldVolume, attachment: AttachmentRow | undefined): AttachmentDecision {
  const attachments = held.attachments.filter(({ id }) => id !== attachment?.id);
  const { status } = held.volume;
  const left = statusOfAttachments(attachments) ?? (isHold(status) ? null : status);
  const ended = hold({ ...held, attachments }, left);
  const detail = attachment === undefined ? {} : detailOf(attachment);
  return { ...ended, removed: attachment?.id, detail, event: 'volume.detached' };
}

/** Which of them decides, and the volume's status by it. Source: `cinder.db.sqlalchemy.api._get_statuses_from_attachments`. */
const deciding = [
  ['attached', 'in-use'],
  ['attaching', 'attaching'],
  ['detaching', 'detaching'],
  ['reserved', 'reserved'],
] as const;

function statusOfAttachments(attachments: readonly AttachmentRow[]): HeldStatus | null {
  return deciding.find(([status]) => attachments.some((one) => one.status === status))?.[1] ?? null;
}

function isHold(status: HeldStatus | null): boolean {
  return deciding.some(([, held]) => held === status);
}

function hold(
  { attachments }: HeldVolume,
  status: HeldStatus | null,
  put?: AttachmentRow,
): Omit<AttachmentDecision, 'event'> {
  const others = attachments.filter(({ id }) => id !== put?.id);
  const holder = put ?? others[0];
  const attachedTo = !isHold(status) ? null : holder === undefined ? 'a reservation' : nameHolder(holder);
  return { status, attachedTo, put, detail: put === undefined ? {} : detailOf(put) };
}

function detailOf({ id: attachmentId, instanceId, hostName, mode }: AttachmentRow): Record<string, unknown> {
  return { attachmentId, instanceId, hostName, mode };
}
