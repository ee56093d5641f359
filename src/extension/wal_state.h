#pragma once

#include "extension/postgres_api.h"
#include "extension/steady_time.h"

namespace chronos::extension {

/// What the archiver and the launcher know of the way of WAL into the repository; part of
/// SharedState, under its lock. A time of 0: it has not happened since the server was started.
struct WalState {
    char failed_file[64];  ///< the last one that the resident engine could not store
    char error[512];
    char hint[512];
    TimestampTz failed_at;
    int64 dropped_count;  ///< because of archive-push-queue-max
    char dropped_file[64];
    TimestampTz dropped_at;
    XLogRecPtr streamed_lsn;  ///< what was streamed lies before it
    TimestampTz streamed_at;  ///< when that was where the server had flushed to
    char stream_error[512];   ///< "" once streaming works again
    TimestampTz stream_failed_at;
    XLogRecPtr sampled_lsn;  ///< of the last look at how fast WAL is written
    SteadyTime sampled_at;
    double bytes_per_second;  ///< smoothed; negative: not known yet
};

/// Each takes the lock; none raises.
void note_failed_push(const char* file, const char* message, const char* hint);
void note_dropped(const char* file);
void note_streamed(XLogRecPtr lsn, TimestampTz at);
void note_stream_failure(const char* message);
/// Looks how much WAL has been written since the last look, if that is some time ago. Not in
/// recovery.
void sample_wal_rate();

}  // namespace chronos::extension
