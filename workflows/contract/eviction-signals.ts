import type {
  CacheLimitValues,
  ConfigureSignal,
  EvictionTarget,
  EvictorSignalName,
  EvictSignal,
  ForgetRefusalSignal,
  PinSignal,
  PlainSignal,
  SetLimitsSignal,
} from './eviction';
import { areWatermarksInOrder, evictionPolicies, LEAST_SWEEP_INTERVAL_MS, limitBounds } from './cache-limits';
import { uuidPattern } from './ids';
import { isRecord } from './is-record';
import { isKeyPrefix, keyPrefixAllowed } from './key-prefix';
import { isStorableText } from './storable-text';
import { quote } from './words';

/*
 * The values that the evictor's signals may hold. Anybody may send them, so every field is checked. Plain code: it is
 * part of the workflows' bundle.
 */

/** A signal that has passed; each is a payload that passes again. */
export type EvictorSignal =
  | { signal: 'evict'; given: EvictSignal }
  | { signal: 'pin' | 'unpin'; given: PinSignal }
  | { signal: 'setLimits'; given: SetLimitsSignal }
  | { signal: 'forgetRefusal'; given: ForgetRefusalSignal }
  | { signal: 'sweep' | 'pause' | 'resume'; given: PlainSignal }
  | { signal: 'configure'; given: ConfigureSignal };

export type ParsedSignal =
  | { kind: 'passed'; value: EvictorSignal }
  /** `why`: one sentence that names field, value and what is allowed. */
  | { kind: 'refused'; requestId?: string; why: string };

/** @param args what the signal was sent with: one JSON object, or nothing where every field may be left out. */
export function parseEvictorSignal(signal: EvictorSignalName, args: readonly unknown[]): ParsedSignal {
  const [first = {}, ...more] = args;
  const rules = rulesOf[signal];
  const fields = Object.keys(rules).join(', ');
  if (more.length > 0) {
    const why = sentence('input', `${args.length} values`, `one object with fields of ${fields}`);
    return { kind: 'refused', requestId: findRequestId(args), why };
  }
  if (!isRecord(first)) return refused('input', first, `an object with fields of ${fields}`);
  const requestId = findRequestId(args);
  const why = findFault(first, rules, '') ?? findRelation(signal, first);
  if (why !== undefined) return { kind: 'refused', requestId, why };
  // Checked field by field above.
  return { kind: 'passed', value: { signal, given: first } as unknown as EvictorSignal };
}

/** @returns the caller's own id of its request, so that a refusal finds the caller too. */
export function findRequestId([first]: readonly unknown[]): string | undefined {
  const id = isRecord(first) ? first['requestId'] : undefined;
  return isText(id, MAX_ID_CHARACTERS) ? id : undefined;
}

/**
 * @returns what is wrong with limits as they are sent. Whether they fit those that stay is checked where these are
 * known.
 */
export function findLimitsFault(limits: Record<string, unknown>): string | undefined {
  return findFault(limits, limitRules, 'limits.') ?? findWatermarkFault(limits);
}

/** @returns the one field that says which entries are meant. */
export function targetOf<Target extends EvictionTarget>(given: Target): Target {
  const [name, value] = targetsIn({ ...given })[0] ?? [];
  return { [name ?? '']: value } as unknown as Target;
}

interface FieldRule {
  allowed: string;
  passes: (value: unknown) => boolean;
}
type Rules = Record<string, FieldRule>;

const MAX_ID_CHARACTERS = 100;
const MAX_REASON_CHARACTERS = 500;

const flag: FieldRule = { allowed: 'true or false', passes: (value) => typeof value === 'boolean' };
const uuid: FieldRule = {
  allowed: 'a UUID in lower case',
  passes: (value) => typeof value === 'string' && uuidPattern.test(value),
};
const shortKey: FieldRule = {
  allowed: keyPrefixAllowed,
  passes: isKeyPrefix,
};
const share: FieldRule = {
  allowed: 'a share from 0 to 1',
  passes: (value) => typeof value === 'number' && value >= 0 && value <= 1,
};
const text = (mostCharacters: number): FieldRule => ({
  allowed: `well-formed text of 1 to ${mostCharacters} characters without NUL`,
  passes: (value) => isText(value, mostCharacters),
});
const within = ({ least, most }: { least: number; most: number }): FieldRule => whole(least, most);
const whole = (least: number, most = Number.MAX_SAFE_INTEGER): FieldRule => ({
  allowed:
    most === Number.MAX_SAFE_INTEGER ? `a whole number from ${least}` : `a whole number from ${least} to ${most}`,
  passes: (value) => typeof value === 'number' && Number.isSafeInteger(value) && value >= least && value <= most,
});
const orNull = ({ allowed, passes }: FieldRule): FieldRule => ({
  allowed: `${allowed}, or null`,
  passes: (value) => value === null || passes(value),
});

const limitRules: Record<keyof CacheLimitValues, FieldRule> = {
  enabled: flag,
  maxBytes: within(limitBounds.maxBytes),
  maxCount: within(limitBounds.maxCount),
  freeLowWater: share,
  freeHighWater: share,
  idleAgeMs: orNull(within(limitBounds.idleAgeMs)),
  keepSuperseded: within(limitBounds.keepSuperseded),
  policy: {
    allowed: evictionPolicies.map((policy) => `"${policy}"`).join(' or '),
    passes: (value) => evictionPolicies.some((policy) => policy === value),
  },
};
const requestId = text(MAX_ID_CHARACTERS);
const named = { entryId: uuid, imageId: uuid, cacheKey: shortKey };
const targets = { ...named, bytes: whole(1), count: whole(1) };
const plain = { requestId, reason: text(MAX_REASON_CHARACTERS) };
const pin = { ...named, requestId, by: text(MAX_ID_CHARACTERS) };

const rulesOf: Record<EvictorSignalName, Rules> = {
  evict: { ...targets, ...plain, by: text(MAX_ID_CHARACTERS), dryRun: flag, flatten: flag },
  sweep: { ...plain, dryRun: flag },
  pin,
  unpin: pin,
  setLimits: {
    requestId,
    by: text(MAX_ID_CHARACTERS),
    limits: { allowed: `an object with fields of ${Object.keys(limitRules).join(', ')}`, passes: isRecord },
  },
  forgetRefusal: { cacheKey: shortKey, requestId, by: text(MAX_ID_CHARACTERS) },
  pause: plain,
  resume: plain,
  configure: { sweepIntervalMs: orNull(whole(LEAST_SWEEP_INTERVAL_MS)) },
};

function findFault(given: Record<string, unknown>, rules: Rules, path: string): string | undefined {
  for (const [name, value] of Object.entries(given)) {
    const rule = Object.hasOwn(rules, name) ? rules[name] : undefined;
    if (rule === undefined)
      return sentence(
        `${path}${name.slice(0, MAX_ID_CHARACTERS)}`,
        value,
        `no such field, only ${Object.keys(rules).join(', ')}`,
      );
    if (!rule.passes(value)) return sentence(`${path}${name}`, value, rule.allowed);
  }
  return undefined;
}

/** Rules between fields. */
function findRelation(signal: EvictorSignalName, given: Record<string, unknown>): string | undefined {
  switch (signal) {
    case 'evict':
    case 'pin':
    case 'unpin':
      return findTargetFault(signal, given);
    case 'setLimits':
      return findLimitsRelation(given);
    case 'forgetRefusal':
      return given['cacheKey'] === undefined ? sentence('cacheKey', undefined, shortKey.allowed) : undefined;
    case 'configure':
      return given['sweepIntervalMs'] === undefined
        ? sentence('sweepIntervalMs', undefined, orNull(whole(1000)).allowed)
        : undefined;
    case 'sweep':
    case 'pause':
    case 'resume':
      return undefined;
  }
}

function findTargetFault(signal: 'evict' | 'pin' | 'unpin', given: Record<string, unknown>): string | undefined {
  const found = targetsIn(given).map(([name]) => name);
  const known = Object.keys(signal === 'evict' ? targets : named).join(', ');
  if (found.length !== 1) return sentence('target', found.length === 0 ? undefined : found, `exactly one of ${known}`);
  if (given['flatten'] === true && (found[0] === 'bytes' || found[0] === 'count'))
    return sentence('flatten', true, `false with ${found[0]}: only named entries are flattened`);
  return undefined;
}

function findLimitsRelation({ limits }: Record<string, unknown>): string | undefined {
  const names = Object.keys(limitRules).join(', ');
  if (!isRecord(limits)) return sentence('limits', limits, `an object with fields of ${names}`);
  if (Object.keys(limits).length === 0) return sentence('limits', limits, `at least one of ${names}`);
  return findLimitsFault(limits);
}

function findWatermarkFault({ freeLowWater: low, freeHighWater: high }: Record<string, unknown>): string | undefined {
  if (typeof low !== 'number' || typeof high !== 'number') return undefined;
  if (areWatermarksInOrder({ freeLowWater: low, freeHighWater: high })) return undefined;
  return sentence('limits.freeLowWater', low, `at most freeHighWater, ${high}`);
}

function targetsIn(given: Record<string, unknown>): [string, unknown][] {
  return Object.entries(given).filter(([name]) => Object.hasOwn(targets, name));
}

function refused(field: string, value: unknown, allowed: string): ParsedSignal {
  return { kind: 'refused', why: sentence(field, value, allowed) };
}

function sentence(field: string, value: unknown, allowed: string): string {
  return `${field}: got ${quote(value)}, allowed is ${allowed}`;
}

function isText(value: unknown, mostCharacters: number): value is string {
  return typeof value === 'string' && value.length >= 1 && value.length <= mostCharacters && isStorableText(value);
}
