#include "extension/shared_state.h"

#include "extension/text.h"

#include <fcntl.h>
#include <unistd.h>

namespace chronos::extension {

SharedState* shared = nullptr;

namespace {

shmem_request_hook_type former_request_hook;
shmem_startup_hook_type former_startup_hook;

void reserve() {
    if (former_request_hook != nullptr) former_request_hook();
    RequestAddinShmemSpace(MAXALIGN(sizeof(SharedState)));
    RequestNamedLWLockTranche("chronos", 1);
}

void initialise() {
    memset(static_cast<void*>(shared), 0, sizeof *shared);
    shared->lock = &GetNamedLWLockTranche("chronos")[0].lock;
    ConditionVariableInit(&shared->changed);
    pg_atomic_init_u32(&shared->shutting_down, 0);
    pg_atomic_init_u64(&shared->clock_offset_us, 0);
    shared->wal.bytes_per_second = -1;
    init_heartbeats(shared->heartbeats);
    for (JobSlot& slot : shared->slots) {
        init_heartbeat(&slot.sign);
        pg_atomic_init_u64(&slot.bytes_total, 0);
        pg_atomic_init_u64(&slot.bytes_done, 0);
        pg_atomic_init_u64(&slot.files_total, 0);
        pg_atomic_init_u64(&slot.files_done, 0);
    }
}

void find_or_create() {
    if (former_startup_hook != nullptr) former_startup_hook();
    bool found = false;
    LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
    shared = static_cast<SharedState*>(ShmemInitStruct("chronos", sizeof(SharedState), &found));
    if (!found) initialise();
    LWLockRelease(AddinShmemInitLock);
}

}  // namespace

const char* job_state_name(JobState state) {
    switch (state) {
        case JobState::free: return "free";
        case JobState::queued: return "queued";
        case JobState::starting: return "starting";
        case JobState::running: return "running";
        case JobState::succeeded: return "succeeded";
        case JobState::failed: return "failed";
        case JobState::cancelled: return "cancelled";
        case JobState::skipped: return "skipped";
    }
    return "unknown";
}

bool is_finished(JobState state) {
    return state == JobState::succeeded || state == JobState::failed ||
           state == JobState::cancelled || state == JobState::skipped;
}

void request_shared_state() {
    former_request_hook = shmem_request_hook;
    shmem_request_hook = reserve;
    former_startup_hook = shmem_startup_hook;
    shmem_startup_hook = find_or_create;
}

void require_preloaded() {
    if (shared != nullptr) return;
    ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                    errmsg("chronos_backup is not loaded at server start"),
                    errhint("Add chronos_backup to shared_preload_libraries and restart the "
                            "server.")));
}

JobSlot* find_job(int64 id) {
    for (JobSlot& slot : shared->slots)
        if (slot.state != JobState::free && slot.id == id) return &slot;
    return nullptr;
}

bool look_up_job(int64 id, JobSlot* copy) {
    LWLockAcquire(shared->lock, LW_SHARED);
    const JobSlot* slot = find_job(id);
    if (slot != nullptr) *copy = *slot;
    LWLockRelease(shared->lock);
    return slot != nullptr;
}

namespace {

/// The record of a phase that has ended; a phase that came back goes on with its own.
PhaseTime* phase_record(JobSlot* slot, const char* name) {
    for (int i = 0; i < slot->phase_count; ++i)
        if (strcmp(slot->phases[i].name, name) == 0) return &slot->phases[i];
    if (slot->phase_count == kPhases) return nullptr;
    PhaseTime* added = &slot->phases[slot->phase_count++];
    strlcpy(added->name, name, sizeof added->name);
    added->us = 0;
    return added;
}

}  // namespace

void enter_phase(JobSlot* slot, const char* phase) {
    if (strcmp(slot->phase, phase) == 0) return;
    const SteadyTime now = steady_now();
    PhaseTime* ended = slot->phase[0] != '\0' ? phase_record(slot, slot->phase) : nullptr;
    if (ended != nullptr) ended->us += now - slot->phase_steady;
    strlcpy(slot->phase, phase, sizeof slot->phase);
    slot->phase_steady = now;
    slot->phase_started_at = GetCurrentTimestamp();
}

void wake_scheduler() {
    LWLockAcquire(shared->lock, LW_EXCLUSIVE);
    shared->schedules_changed = true;
    if (shared->launcher_latch != nullptr) SetLatch(shared->launcher_latch);
    LWLockRelease(shared->lock);
}

void finish_slot(JobSlot* slot, JobState state, int error_code, const char* error,
                 const char* hint) {
    // A schedule may want another attempt.
    if (state == JobState::failed && slot->schedule[0] != '\0') shared->schedules_changed = true;
    enter_phase(slot, "");
    slot->state = state;
    slot->finished_at = GetCurrentTimestamp();
    slot->finished_steady = steady_now();
    slot->error_code = error_code;
    clip_utf8(slot->error, sizeof slot->error, error != nullptr ? error : "");
    clip_utf8(slot->hint, sizeof slot->hint, hint != nullptr ? hint : "");
    slot->worker_latch = nullptr;
    slot->worker_pid = 0;
}

void notify_finished() {
    LWLockAcquire(shared->lock, LW_SHARED);
    if (shared->launcher_latch != nullptr) SetLatch(shared->launcher_latch);
    LWLockRelease(shared->lock);
    ConditionVariableBroadcast(&shared->changed);
}

void finish_job(int64 id, JobState state, int error_code, const char* error, const char* hint) {
    LWLockAcquire(shared->lock, LW_EXCLUSIVE);
    JobSlot* slot = find_job(id);
    if (slot != nullptr && !is_finished(slot->state))
        finish_slot(slot, state, error_code, error, hint);
    LWLockRelease(shared->lock);
    notify_finished();
}

bool postmaster_is_stopping() {
    char text[1024];
    const int fd = open("postmaster.pid", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    const ssize_t size = read(fd, text, sizeof text - 1);
    close(fd);
    if (size <= 0) return false;
    text[size] = '\0';
    const char* line = text;
    for (int number = 1; number < LOCK_FILE_LINE_PM_STATUS && line != nullptr; ++number) {
        line = strchr(line, '\n');
        if (line != nullptr) ++line;
    }
    return line != nullptr && strncmp(line, PM_STATUS_STOPPING, strlen(PM_STATUS_STOPPING)) == 0;
}

}  // namespace chronos::extension
