#include "extension/job_queue.h"
#include "chronos/base/error_kind.h"

#include "extension/job_history.h"
#include "extension/text.h"

namespace chronos::extension {
namespace {

/// The slot for a new job: a free one, or that of the job that has been finished for longest. Under
/// the lock.
JobSlot* slot_for_new_job() {
    JobSlot* oldest = nullptr;
    for (JobSlot& slot : shared->slots) {
        if (slot.state == JobState::free) return &slot;
        if (is_finished(slot.state) && (oldest == nullptr || slot.id < oldest->id)) oldest = &slot;
    }
    return oldest;
}

void fill_slot(JobSlot* slot, int64 id, const JobRequest* request) {
    slot->id = id;
    slot->state = JobState::queued;
    strlcpy(slot->type, request->type->name, sizeof slot->type);
    strlcpy(slot->options, request->options, sizeof slot->options);
    clip_utf8(slot->requested_by, sizeof slot->requested_by, request->requested_by);
    strlcpy(slot->requested_from, request->requested_from, sizeof slot->requested_from);
    clip_utf8(slot->schedule, sizeof slot->schedule, request->schedule);
    slot->due_at = request->due_at;
    slot->attempt = request->attempt;
    slot->requested_at = GetCurrentTimestamp();
    slot->started_at = slot->finished_at = slot->phase_started_at = 0;
    slot->claimed_steady = slot->finished_steady = slot->phase_steady = 0;
    slot->phase[0] = slot->label[0] = slot->error[0] = slot->hint[0] = '\0';
    slot->error_code = slot->phase_count = 0;
    slot->dropped_at = 0;
    slot->drop_xid = 0;
    slot->drop_lsn[0] = '\0';
    slot->copying = {};
    slot->worker_pid = 0;
    slot->worker_latch = nullptr;
    slot->cancel_requested = slot->recorded = false;
    slot->of_standby = RecoveryInProgress();
    if (request->skip_reason != nullptr) {
        slot->state = JobState::skipped;
        slot->finished_at = slot->requested_at;
        slot->finished_steady = steady_now();
        clip_utf8(slot->error, sizeof slot->error, request->skip_reason);
    }
    if (request->refusal != nullptr) {
        slot->state = JobState::failed;
        slot->finished_at = slot->requested_at;
        slot->finished_steady = steady_now();
        slot->error_code = exit_code(ErrorKind::option_invalid);
        clip_utf8(slot->error, sizeof slot->error, request->refusal);
        clip_utf8(slot->hint, sizeof slot->hint, request->hint);
    }
    pg_atomic_write_u64(&slot->bytes_total, 0);
    pg_atomic_write_u64(&slot->bytes_done, 0);
    pg_atomic_write_u64(&slot->files_total, 0);
    pg_atomic_write_u64(&slot->files_done, 0);
}

/// Numbers go on where the history ends, also after a restart.
void continue_numbers() {
    LWLockAcquire(shared->lock, LW_SHARED);
    const bool known =
        shared->next_id != 0 && (!shared->next_id_of_standby || RecoveryInProgress());
    LWLockRelease(shared->lock);
    if (known) return;
    const int64 last = last_recorded_job();
    LWLockAcquire(shared->lock, LW_EXCLUSIVE);
    shared->next_id = Max(shared->next_id, last + 1);
    shared->next_id_of_standby = RecoveryInProgress();
    LWLockRelease(shared->lock);
}

/// Options that fitted as text of the database may be longer in UTF-8, and half of them are others.
void require_room(const char* options) {
    if (strlen(options) < sizeof JobSlot::options) return;
    ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
                    errmsg("options are longer than %d bytes",
                           static_cast<int>(sizeof JobSlot::options) - 1)));
}

}  // namespace

JobIdentity queue_job(const JobRequest* request) {
    require_room(request->options);
    continue_numbers();
    JobIdentity identity = {};
    LWLockAcquire(shared->lock, LW_EXCLUSIVE);
    const bool served = shared->launcher_pid != 0;
    JobSlot* slot = served ? slot_for_new_job() : nullptr;
    if (slot != nullptr) {
        fill_slot(slot, shared->next_id++, request);
        identity = {slot->id, slot->requested_at};
        SetLatch(shared->launcher_latch);
    }
    LWLockRelease(shared->lock);
    if (!served)
        ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                        errmsg("could not queue %s: the chronos launcher is not running",
                               request->type->title),
                        errhint("It needs one of max_worker_processes; see the server log.")));
    if (slot == nullptr)
        ereport(ERROR, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
                        errmsg("could not queue %s: %d jobs are waiting", request->type->title,
                               kJobSlots)));
    return identity;
}

void require_options_fit(const StringInfoData* options, const char* what) {
    constexpr int kMax = static_cast<int>(sizeof JobSlot::options) - 1;
    if (options->len <= kMax) return;
    ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
                    errmsg("%s are longer than %d bytes", what, kMax)));
}

}  // namespace chronos::extension
