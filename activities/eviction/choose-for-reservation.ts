import type { EvictionView } from '../../db/evictions/eviction-view';
import type { ReservationNeed, VictimSelection } from '../../db/evictions/victims';
import { chooseEvictions, type Selection } from './choose-evictions';
import { reasonOfClass } from './judge';

/** What goes for a reservation of `bytes`: enough, or nothing. Pure. */
export function chooseForReservation(bytes: number): (view: EvictionView, need: ReservationNeed) => VictimSelection {
  return (view, need) => toVictims(chooseEvictions(view, [{ kind: 'reservation', bytes, ...need }]));
}

/** What the inventory is told of a selection. */
export function toVictims({ chosen, clock, isShort }: Selection): VictimSelection {
  const victims = chosen.map(({ candidate, class: evictionClass, why }) => ({
    entryId: candidate.entry.id,
    reason: reasonOfClass(evictionClass),
    detail: `${evictionClass}: ${why}`,
  }));
  return { victims, clock, isShort };
}
