#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "chronos/ops/restore/restore.h"

namespace chronos::ops::restore {

/// A time target as understood: the instant, and the text that makes PostgreSQL stop there.
struct TimeTarget {
    std::int64_t instant_us = 0;  ///< since 1970 UTC
    std::string setting;
};

/// "2026-11-20 08:11:30[.5][+00]", the ISO form with 'T', "now", "1 hour ago",
/// "2 days 30 minutes ago". nullopt if it is none of them. A target without a zone is local time
/// here but time of the setting TimeZone in PostgreSQL, so that its setting gets the zone.
std::optional<TimeTarget> parse_time_target(std::string_view text, UnixTime now);

/// The same for a request of type time, or why not: kind format or option_invalid_value. Refused
/// are, besides what nobody can read, local times that were there twice or never, with the instants
/// that may be meant, and any in a zone (TZ) that this machine does not know.
Result<TimeTarget> judge_time_target(const RestoreRequest& request, UnixTime now);

/// Whether a transaction id that is given with its epoch can be that of one that ended in
/// `wal_bytes` behind a backup whose pg_control has `next_xid`. A server looks at the lower 32 bits
/// alone, and would stop at another transaction. Kind backup_set_invalid, with the right number.
Result<> judge_xid_epoch(std::uint64_t xid, std::uint64_t next_xid, std::uint64_t wal_bytes);

/// Decimal or hexadecimal with 0x, as PostgreSQL reads recovery_target_timeline. Kind db_mismatch.
Result<Timeline> parse_timeline(std::string_view text);

/// "2026-11-20 08:11:30+00", with a fraction if there is one.
std::string format_instant(std::int64_t instant_us);

/// Options that contradict each other, kinds option_invalid and option_required, and targets that a
/// server would not read, or would read otherwise, kinds option_invalid_value and db_mismatch; with
/// the texts of pgBackRest where it has one. The time of a target is judged by the function above.
Result<> check_restore_request(const RestoreRequest& request);

/// Whether recovery stops at something, rather than at the end of the WAL.
inline bool has_recovery_target(RecoveryType type) {
    return type == RecoveryType::time || type == RecoveryType::xid || type == RecoveryType::lsn ||
           type == RecoveryType::name || type == RecoveryType::immediate;
}

}  // namespace chronos::ops::restore
