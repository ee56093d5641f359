#pragma once

#include "chronos/ops/health/health.h"

namespace chronos::test {

/// Limits of a cluster that is backed up every night, and asked for nothing more.
inline ops::health::Limits plain_limits() {
    ops::health::Limits limits;
    limits.backup_age = std::chrono::hours(25);
    limits.backup_duration = std::chrono::hours(2);
    limits.wal_lag = std::chrono::minutes(10);
    limits.data_loss = std::chrono::seconds(0);
    limits.verify_age = std::chrono::seconds(0);
    limits.drill_age = std::chrono::seconds(0);
    limits.recovery_time = std::chrono::seconds(0);
    limits.repo_size_bytes = 0;
    limits.repo_growth_percent = 50;
    limits.disk_free_percent = 10;
    return limits;
}

}  // namespace chronos::test
