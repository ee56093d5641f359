#include "extension/wal_state.h"

#include <sys/stat.h>
#include <sys/statvfs.h>

#include "extension/shared_state.h"
#include "extension/text.h"

namespace chronos::extension {
namespace {

constexpr int kSampleMs = 15000;
/// Weight of the newest sample: a burst of a minute shows, and is forgotten in some minutes.
constexpr double kSampleWeight = 0.3;

/// What archive_status says.
struct Marks {
    int64 ready_count;
    char oldest_ready[MAXFNAMELEN];
    char newest_done[MAXFNAMELEN];
};

bool is_segment(const char* name, size_t length) {
    return length == XLOG_FNAME_LEN && strspn(name, "0123456789ABCDEF") >= XLOG_FNAME_LEN;
}

/// Segments only; of several timelines the order of names is the order in which they are archived.
void look_at_mark(Marks* marks, const char* name) {
    const char* dot = strchr(name, '.');
    if (dot == nullptr || !is_segment(name, dot - name)) return;
    char segment[MAXFNAMELEN];
    strlcpy(segment, name, dot - name + 1);
    if (strcmp(dot, ".ready") == 0) {
        ++marks->ready_count;
        if (*marks->oldest_ready == '\0' || strcmp(segment, marks->oldest_ready) < 0)
            strlcpy(marks->oldest_ready, segment, sizeof marks->oldest_ready);
    } else if (strcmp(dot, ".done") == 0 && strcmp(segment, marks->newest_done) > 0) {
        strlcpy(marks->newest_done, segment, sizeof marks->newest_done);
    }
}

Marks read_marks() {
    Marks marks = {};
    DIR* directory = AllocateDir("pg_wal/archive_status");
    while (const dirent* entry = ReadDir(directory, "pg_wal/archive_status"))
        look_at_mark(&marks, entry->d_name);
    FreeDir(directory);
    return marks;
}

/// When a mark was made: when the segment was complete, because renaming keeps the time.
bool time_of_mark(const char* segment, const char* suffix, TimestampTz* time) {
    struct stat info;
    if (*segment == '\0' ||
        stat(psprintf("pg_wal/archive_status/%s%s", segment, suffix), &info) != 0)
        return false;
    *time = time_t_to_timestamptz(info.st_mtime);
    return true;
}

int64 size_of_wal_directory() {
    int64 size = 0;
    DIR* directory = AllocateDir("pg_wal");
    while (const dirent* entry = ReadDir(directory, "pg_wal")) {
        struct stat info;
        // A segment may be recycled between the two looks.
        if (stat(psprintf("pg_wal/%s", entry->d_name), &info) == 0 && S_ISREG(info.st_mode))
            size += info.st_size;
    }
    FreeDir(directory);
    return size;
}

/// A row under construction; columns in the order of the SQL function.
struct Row {
    Datum values[24];
    bool nulls[24];
    int count;
};

void put(Row* row, Datum value, bool known) {
    row->values[row->count] = value;
    row->nulls[row->count++] = !known;
}
void put_text(Row* row, const char* text) {
    put(row, *text != '\0' ? text_datum(text) : 0, *text != '\0');
}
void put_time(Row* row, TimestampTz time) {
    put(row, TimestampTzGetDatum(time), time != 0);
}

void put_marks(Row* row, const Marks* marks) {
    TimestampTz time = 0;
    put(row, Int64GetDatum(marks->ready_count), true);
    put_text(row, marks->oldest_ready);
    put_time(row, time_of_mark(marks->oldest_ready, ".ready", &time) ? time : 0);
    time = 0;
    put_time(row, time_of_mark(marks->newest_done, ".done", &time) ? time : 0);
}

/// Flushed so far, and up to where everything is archived. Unknown in recovery and while nothing is
/// archived.
void put_positions(Row* row, const Marks* marks) {
    const bool known = !RecoveryInProgress() && XLogArchivingActive();
    XLogRecPtr flushed = 0;
    XLogRecPtr archived = 0;
    if (known) {
        flushed = GetFlushRecPtr(nullptr);
        XLogSegNo segment;
        TimeLineID timeline;
        XLByteToSeg(flushed, segment, wal_segment_size);
        if (*marks->oldest_ready != '\0')
            XLogFromFileName(marks->oldest_ready, &timeline, &segment, wal_segment_size);
        XLogSegNoOffsetToRecPtr(segment, 0, wal_segment_size, archived);
    }
    put(row, LSNGetDatum(flushed), known);
    put(row, LSNGetDatum(archived), known);
}

void put_disk(Row* row) {
    struct statvfs disk;
    const bool known = statvfs("pg_wal", &disk) == 0;
    put(row, Int64GetDatum(size_of_wal_directory()), true);
    put(row, Int64GetDatum(known ? static_cast<int64>(disk.f_bavail) * disk.f_frsize : 0), known);
}

/// Until there are two samples: from the first one until now.
void put_rate(Row* row, const WalState* state) {
    double rate = state->bytes_per_second;
    if (rate < 0 && state->sampled_at != 0 && !RecoveryInProgress()) {
        const SteadyTime now = steady_now();
        if (now - state->sampled_at > USECS_PER_SEC)
            rate = static_cast<double>(GetFlushRecPtr(nullptr) - state->sampled_lsn) *
                   USECS_PER_SEC / static_cast<double>(now - state->sampled_at);
    }
    put(row, Float8GetDatum(rate), rate >= 0);
}

void put_state(Row* row, const WalState* state) {
    put_text(row, state->failed_file);
    put_text(row, state->error);
    put_text(row, state->hint);
    put_time(row, state->failed_at);
    put(row, Int64GetDatum(state->dropped_count), true);
    put_text(row, state->dropped_file);
    put_time(row, state->dropped_at);
    put(row, LSNGetDatum(state->streamed_lsn), state->streamed_lsn != 0);
    put_time(row, state->streamed_at);
    put_text(row, state->stream_error);
    put_time(row, state->stream_failed_at);
}

}  // namespace

void note_failed_push(const char* file, const char* message, const char* hint) {
    if (shared == nullptr) return;
    LWLockAcquire(shared->lock, LW_EXCLUSIVE);
    WalState* state = &shared->wal;
    strlcpy(state->failed_file, file, sizeof state->failed_file);
    clip_utf8(state->error, sizeof state->error, message);
    clip_utf8(state->hint, sizeof state->hint, hint != nullptr ? hint : "");
    state->failed_at = GetCurrentTimestamp();
    LWLockRelease(shared->lock);
}

void note_dropped(const char* file) {
    LWLockAcquire(shared->lock, LW_EXCLUSIVE);
    ++shared->wal.dropped_count;
    strlcpy(shared->wal.dropped_file, file, sizeof shared->wal.dropped_file);
    shared->wal.dropped_at = GetCurrentTimestamp();
    LWLockRelease(shared->lock);
}

void note_streamed(XLogRecPtr lsn, TimestampTz at) {
    LWLockAcquire(shared->lock, LW_EXCLUSIVE);
    shared->wal.streamed_lsn = lsn;
    shared->wal.streamed_at = at;
    shared->wal.stream_error[0] = '\0';
    LWLockRelease(shared->lock);
}

void note_stream_failure(const char* message) {
    LWLockAcquire(shared->lock, LW_EXCLUSIVE);
    clip_utf8(shared->wal.stream_error, sizeof shared->wal.stream_error, message);
    shared->wal.stream_failed_at = GetCurrentTimestamp();
    LWLockRelease(shared->lock);
}

void sample_wal_rate() {
    const SteadyTime now = steady_now();
    WalState* state = &shared->wal;
    // Only the launcher writes these, so it may look without the lock.
    if (state->sampled_at != 0 && !has_passed(state->sampled_at, kSampleMs)) return;
    const XLogRecPtr lsn = GetFlushRecPtr(nullptr);
    LWLockAcquire(shared->lock, LW_EXCLUSIVE);
    if (state->sampled_at != 0 && lsn >= state->sampled_lsn) {
        const double rate = static_cast<double>(lsn - state->sampled_lsn) * USECS_PER_SEC /
                            static_cast<double>(now - state->sampled_at);
        state->bytes_per_second =
            state->bytes_per_second < 0
                ? rate
                : kSampleWeight * rate + (1 - kSampleWeight) * state->bytes_per_second;
    }
    state->sampled_lsn = lsn;
    state->sampled_at = now;
    LWLockRelease(shared->lock);
}

}  // namespace chronos::extension

CHRONOS_FUNCTION(chronos_wal_state) {
    using namespace chronos::extension;
    require_preloaded();
    TupleDesc columns;
    if (get_call_result_type(fcinfo, nullptr, &columns) != TYPEFUNC_COMPOSITE)
        elog(ERROR, "wal_state() does not return a row");
    LWLockAcquire(shared->lock, LW_SHARED);
    const WalState state = shared->wal;
    LWLockRelease(shared->lock);
    const Marks marks = read_marks();
    Row row = {};
    put_marks(&row, &marks);
    put_positions(&row, &marks);
    put_disk(&row);
    put_rate(&row, &state);
    put_state(&row, &state);
    if (row.count != columns->natts) elog(ERROR, "wal_state() has other columns");
    PG_RETURN_DATUM(
        HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(columns), row.values, row.nulls)));
}
