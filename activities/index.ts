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
import { createChangeVolumeType } from './change/apply-type-change';
import { createChangeSnapshot } from './snapshot/apply-snapshot-change';
import { createAcceptTransfer, createCreateTransfer, createDeleteTransfer } from './change/transfers';
import { createChangeAttachment } from './attach/apply-attachment-change';
import { createNoteUntold, createTellServers } from './attach/server-news';
import { createChangeVolume } from './change/apply-volume-change';
import { createBeginReimage, createDropReimage } from './reimage/begin-reimage';
import { createReplaceBytes, createSettleReimage } from './reimage/replace-bytes';
import { createDeleteMessage } from './change/forget-message';
import { createBeginExtend, createGrowVolume, createRevertExtend } from './change/extend-volume';
import {
  createAdmitSnapshot,
  createFailSnapshot,
  createFindAdmittedSnapshot,
  createRemoveSnapshot,
  createTakeSnapshot,
} from './snapshot/take-snapshot';
import {
  createBeginDeleteSnapshot,
  createDeleteSnapshotBytes,
  createFinishDeleteSnapshot,
} from './snapshot/remove-snapshot';
import { createAdmitPlainVolume, createMakePlainVolume } from './create/plain-volume';
import { parseCreatePlainVolumeRequest } from './create/plain-volume-request';
import { parseCreateVolumeRequest } from './create/create-volume-request';
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
import { createPlanImport, createPlanRevert } from './import/import-request';
import { createGiveBackSettings, createImportSettings } from './import/import-settings';
import { createImportVolumes } from './import/import-volumes';
import { createGiveBackVolumes } from './import/give-back';
import { createApplyQuotas } from './quota/apply-quotas';
import { createFlattenVolume, createListClones } from './flatten/flatten-volume';
import { createDownloadToScratch } from './transfer/download-to-scratch';
import { createReleaseScratch } from './transfer/scratch-image';
import { createSeedImageVolume } from './transfer/seed-image-volume';
import { createStreamImageVolume } from './transfer/stream-image-volume';
import { createWriteImageVolume, createWriteReimage, createWriteVolume } from './transfer/write-guest-bytes';
import { createEnsureImageRecord, createRemoveUnfilledImage } from './upload/image-record';
import { createPointImage, createRemoveUnusedPointer } from './upload/point-image';
import {
  createDeleteSharedImage,
  createFreeParents,
  createPublishShare,
  createRevokeShare,
} from './upload/share-image';
import { createPlanShare, createPlanUnshare } from './upload/share-request';
import { createUploadImage } from './upload/upload-image';
import { createEndUpload } from './upload/end-upload';
import { createPlanUpload } from './upload/upload-request';
import { createRemoveImageSnapshot, createTakeImageSnapshot } from './upload/image-snapshot';
import { createCompareVolume } from './seed/compare-volume';
import { createNoteTold, createPlanSeed } from './seed/seed-request';
import { createSemaphore } from '../lib/semaphore';
import { givingUpAfter, tellingThatItLives } from './kit/heartbeat-reporter';

/** On `image-volume-cache`: the inventory and image metadata. */
export function createControlActivities(deps: ControlDependencies) {
  return {
    admitVolume: createAdmitVolume(deps),
    findAdmitted: createFindAdmitted(deps, parseCreateVolumeRequest),
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
    changeVolume: createChangeVolume(deps),
    changeAttachment: createChangeAttachment(deps),
    tellServers: createTellServers(deps),
    noteUntold: createNoteUntold(deps),
    beginExtend: createBeginExtend(deps),
    beginReimage: createBeginReimage(deps),
    dropReimage: createDropReimage(deps),
    beginDelete: createBeginDelete(deps),
    cancelCreate: createCancelCreate(deps),
    finishDelete: createFinishDelete(deps),
    admitPlainVolume: createAdmitPlainVolume(deps),
    findAdmittedPlainVolume: createFindAdmitted(deps, parseCreatePlainVolumeRequest),
    admitSnapshot: createAdmitSnapshot(deps),
    findAdmittedSnapshot: createFindAdmittedSnapshot(deps),
    failSnapshot: createFailSnapshot(deps),
    beginDeleteSnapshot: createBeginDeleteSnapshot(deps),
    finishDeleteSnapshot: createFinishDeleteSnapshot(deps),
    changeSnapshot: createChangeSnapshot(deps),
    changeVolumeType: createChangeVolumeType(deps),
    createTransfer: createCreateTransfer(deps),
    acceptTransfer: createAcceptTransfer(deps),
    deleteTransfer: createDeleteTransfer(deps),
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
    planUpload: createPlanUpload(deps),
    planSeed: createPlanSeed(deps),
    noteTold: createNoteTold(deps),
    ensureImageRecord: createEnsureImageRecord(deps),
    removeUnfilledImage: createRemoveUnfilledImage(deps),
    endUploadHold: createEndUpload(deps),
    planShare: createPlanShare(deps),
    publishShare: createPublishShare(deps),
    planUnshare: createPlanUnshare(deps),
    revokeShare: createRevokeShare(deps),
    deleteSharedImage: createDeleteSharedImage(deps),
    deleteMessage: createDeleteMessage(deps),
    applyQuotas: createApplyQuotas(deps),
    planImport: createPlanImport(deps),
    importSettings: createImportSettings(deps),
    planRevert: createPlanRevert(deps),
    giveBackSettings: createGiveBackSettings(deps),
  };
}

export type ControlActivities = ReturnType<typeof createControlActivities>;

/** On `backend-<name>`: where that backend is reachable. */
export function createBackendActivities(deps: BackendDependencies, backend: BackendName) {
  return {
    /** The answer is this worker's own host, so it reaches the backend by construction. */
    pickHost: async (): Promise<{ hostId: HostId }> => ({ hostId: deps.hostId }),
    cloneVolume: tellingThatItLives(createCloneVolume(deps)),
    cloneVolumes: createCloneVolumes(deps, backend),
    removeVolumes: createRemoveVolumes(deps, backend),
    makeRoom: tellingThatItLives(createMakeRoom(deps)),
    removeVolume: tellingThatItLives(createRemoveVolume(deps, backend)),
    removeImageVolume: tellingThatItLives(createRemoveImageVolume(deps, backend)),
    growVolume: tellingThatItLives(createGrowVolume(deps, backend)),
    revertExtend: tellingThatItLives(createRevertExtend(deps, backend)),
    replaceBytes: createReplaceBytes(deps, backend),
    settleReimage: tellingThatItLives(createSettleReimage(deps, backend)),
    deleteVolume: tellingThatItLives(createDeleteVolume(deps, backend)),
    makePlainVolume: createMakePlainVolume(deps, backend),
    takeSnapshot: createTakeSnapshot(deps, backend),
    removeSnapshot: tellingThatItLives(createRemoveSnapshot(deps, backend)),
    deleteSnapshotBytes: tellingThatItLives(createDeleteSnapshotBytes(deps, backend)),
    deleteParent: tellingThatItLives(createDeleteParent(deps, backend)),
    evictEntries: createEvictEntries(deps, backend),
    flattenVolume: createFlattenVolume(deps, backend),
    reconcileRows: createReconcileRows(deps, backend),
    reconcileObjects: createReconcileObjects(deps, backend),
    digestParents: createDigestParents(deps, backend),
    takeImageSnapshot: createTakeImageSnapshot(deps, backend),
    removeImageSnapshot: tellingThatItLives(createRemoveImageSnapshot(deps, backend)),
    freeParents: tellingThatItLives(createFreeParents(deps, backend)),
    removeUnusedPointer: tellingThatItLives(createRemoveUnusedPointer(deps, backend)),
    importVolumes: createImportVolumes(deps, backend),
    giveBackVolumes: createGiveBackVolumes(deps, backend),
  };
}

export type BackendActivities = ReturnType<typeof createBackendActivities>;

/** A conversion that fails by itself so often fails for good. */
const CONVERSION_TRIES = 3;
/** On one host: each takes a core for its hash. */
const UPLOADS_AT_ONCE = 2;

/** On `host-<host id>`: everything that touches one host's scratch. */
export function createHostActivities(deps: HostDependencies) {
  const uploads = createSemaphore(UPLOADS_AT_ONCE);
  return {
    downloadToScratch: createDownloadToScratch(deps),
    seedImageVolume: createSeedImageVolume(deps),
    streamImageVolume: createStreamImageVolume(deps),
    writeImageVolume: givingUpAfter(CONVERSION_TRIES, createWriteImageVolume(deps)),
    writeVolume: givingUpAfter(CONVERSION_TRIES, createWriteVolume(deps)),
    writeReimage: givingUpAfter(CONVERSION_TRIES, createWriteReimage(deps)),
    releaseScratch: createReleaseScratch(deps),
    reconcileScratch: createReconcileScratch(deps),
    uploadImage: createUploadImage(deps, uploads),
    pointImage: createPointImage(deps, uploads),
    compareVolume: createCompareVolume(deps),
  };
}

export type HostActivities = ReturnType<typeof createHostActivities>;
