#include "extension/shared_state.h"

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
    for (JobSlot& slot : shared->slots) {
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
    }
    return "unknown";
}

bool is_finished(JobState state) {
    return state == JobState::succeeded || state == JobState::failed ||
           state == JobState::cancelled;
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

void finish_job(int64 id, JobState state, int error_code, const char* error, const char* hint) {
    LWLockAcquire(shared->lock, LW_EXCLUSIVE);
    JobSlot* slot = find_job(id);
    if (slot != nullptr && !is_finished(slot->state)) {
        slot->state = state;
        slot->finished_at = GetCurrentTimestamp();
        slot->error_code = error_code;
        strlcpy(slot->error, error != nullptr ? error : "", sizeof slot->error);
        strlcpy(slot->hint, hint != nullptr ? hint : "", sizeof slot->hint);
        slot->worker_latch = nullptr;
        slot->worker_pid = 0;
    }
    Latch* launcher = shared->launcher_latch;
    LWLockRelease(shared->lock);
    if (launcher != nullptr) SetLatch(launcher);
    ConditionVariableBroadcast(&shared->changed);
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
