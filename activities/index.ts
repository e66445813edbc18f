import type { BackendName, HostId } from '../workflows/contract/ids';
import type { BackendDependencies, ControlDependencies, HostDependencies } from './dependencies';
import { createEvictEntries } from './evict/evict-entries';
import { createAdmitVolume } from './create/admit-volume';
import { createAdmitVolumes, createFindAdmittedVolumes } from './create/admit-volumes';
import { createAcquireAndClone, createCloneVolume } from './create/acquire-and-clone';
import { createCloneVolumes } from './create/clone-volumes';
import { createFailVolumes, createRemoveVolumes } from './create/fail-volumes';
import {
  createBeginDelete,
  createCancelCreate,
  createDeleteParent,
  createDeleteVolume,
  createFinishDelete,
  createRemoveImageVolume,
  createRemoveVolume,
} from './delete/delete-volume';
import { createFailVolume, createFindAdmitted } from './create/fail-volume';
import { createAnswerWaiters, createClaimFlight } from './populate/flight';
import { createAwaitVerdict, createJoinPopulation } from './create/join-population';
import { createRemoveFollow, createSetFollow } from './follow/follow-request';
import {
  createFlipFollow,
  createMatchFollow,
  createNoteFollowProblem,
  createRetireSuperseded,
} from './follow/match-follow';
import { createRefreshImages } from './refresh/refresh-images';
import { createRetireMissing } from './refresh/missing-images';
import { createPlanRefresh } from './refresh/refresh-request';
import { createAwaitWarming, createOpenWarming } from './warm/warm-image';
import { createPinWarmed, createPlanWarming } from './warm/warm-request';
import { createDigestParents } from './reconcile/digest-parents';
import { createRecheckPolicy } from './reconcile/recheck-policy';
import { createReconcileObjects } from './reconcile/reconcile-objects';
import { createPlanReconcile } from './reconcile/reconcile-request';
import { createReconcileRows } from './reconcile/reconcile-rows';
import { createReconcileScratch } from './reconcile/reconcile-scratch';
import {
  createApplyForgetRefusal,
  createApplyLimits,
  createApplyPin,
  createReadEvictorSettings,
} from './evict/apply-changes';
import { createAbandonEntry, createMakeRoom, createRegisterEntry, createReserveEntry } from './populate/reservation';
import { createFlattenVolume, createListClones } from './flatten/flatten-volume';
import { createDownloadToScratch } from './transfer/download-to-scratch';
import { createReleaseScratch } from './transfer/scratch-image';
import { createStreamImageVolume } from './transfer/stream-image-volume';
import { createWriteImageVolume, createWriteVolume } from './transfer/write-guest-bytes';
import { givingUpAfter } from './kit/heartbeat-reporter';

/** On `image-volume-cache`: the inventory and image metadata. */
export function createControlActivities(deps: ControlDependencies) {
  return {
    admitVolume: createAdmitVolume(deps),
    findAdmitted: createFindAdmitted(deps),
    admitVolumes: createAdmitVolumes(deps),
    findAdmittedVolumes: createFindAdmittedVolumes(deps),
    acquireAndClone: createAcquireAndClone(deps),
    joinPopulation: createJoinPopulation(deps),
    awaitVerdict: createAwaitVerdict(deps),
    failVolume: createFailVolume(deps),
    failVolumes: createFailVolumes(deps),
    claimFlight: createClaimFlight(deps),
    reserveEntry: createReserveEntry(deps),
    registerEntry: createRegisterEntry(deps),
    abandonEntry: createAbandonEntry(deps),
    answerWaiters: createAnswerWaiters(deps),
    beginDelete: createBeginDelete(deps),
    cancelCreate: createCancelCreate(deps),
    finishDelete: createFinishDelete(deps),
    readEvictorSettings: createReadEvictorSettings(deps),
    applyPin: createApplyPin(deps),
    applyLimits: createApplyLimits(deps),
    applyForgetRefusal: createApplyForgetRefusal(deps),
    listClones: createListClones(deps),
    planWarming: createPlanWarming(deps),
    openWarming: createOpenWarming(deps),
    awaitWarming: createAwaitWarming(deps),
    pinWarmed: createPinWarmed(deps),
    planReconcile: createPlanReconcile(deps),
    planRefresh: createPlanRefresh(deps),
    refreshImages: createRefreshImages(deps),
    settleMissing: createRetireMissing(deps),
    setFollow: createSetFollow(deps),
    removeFollow: createRemoveFollow(deps),
    matchFollow: createMatchFollow(deps),
    flipFollow: createFlipFollow(deps),
    retireSuperseded: createRetireSuperseded(deps),
    noteFollowProblem: createNoteFollowProblem(deps),
    recheckPolicy: createRecheckPolicy(deps),
  };
}

export type ControlActivities = ReturnType<typeof createControlActivities>;

/** On `backend-<name>`: where that backend is reachable. */
export function createBackendActivities(deps: BackendDependencies, backend: BackendName) {
  return {
    /** The answer is this worker's own host, so it reaches the backend by construction. */
    pickHost: async (): Promise<{ hostId: HostId }> => ({ hostId: deps.hostId }),
    cloneVolume: createCloneVolume(deps),
    cloneVolumes: createCloneVolumes(deps, backend),
    removeVolumes: createRemoveVolumes(deps, backend),
    makeRoom: createMakeRoom(deps),
    removeVolume: createRemoveVolume(deps, backend),
    removeImageVolume: createRemoveImageVolume(deps, backend),
    deleteVolume: createDeleteVolume(deps, backend),
    deleteParent: createDeleteParent(deps, backend),
    evictEntries: createEvictEntries(deps, backend),
    flattenVolume: createFlattenVolume(deps, backend),
    reconcileRows: createReconcileRows(deps, backend),
    reconcileObjects: createReconcileObjects(deps, backend),
    digestParents: createDigestParents(deps, backend),
  };
}

export type BackendActivities = ReturnType<typeof createBackendActivities>;

/** A conversion that fails by itself so often fails for good. */
const CONVERSION_TRIES = 3;

/** On `host-<host id>`: everything that touches one host's scratch. */
export function createHostActivities(deps: HostDependencies) {
  return {
    downloadToScratch: createDownloadToScratch(deps),
    streamImageVolume: createStreamImageVolume(deps),
    writeImageVolume: givingUpAfter(CONVERSION_TRIES, createWriteImageVolume(deps)),
    writeVolume: givingUpAfter(CONVERSION_TRIES, createWriteVolume(deps)),
    releaseScratch: createReleaseScratch(deps),
    reconcileScratch: createReconcileScratch(deps),
  };
}

export type HostActivities = ReturnType<typeof createHostActivities>;
