#pragma once

#include <cstdint>

#include "chronos/config/option.h"

/// The words that rows of options are written in: commands by their names, sets of them, units.
namespace chronos::config::options {

using enum CommandId;

/// Those that open a repository.
inline constexpr Commands kRepository =
    annotate | archive_get | archive_push | backup | check | drill | expire | hold | info | look |
    maintenance | mount | recover_table | rekey | repair | replica | repo_get | repo_ls |
    repo_usage | restore | stanza_claim | stanza_create | stanza_delete | stanza_upgrade | unhold |
    verify | health | serve;
/// Those that judge by rules.
inline constexpr Commands kHealthRules = health | serve;
inline constexpr Commands kAll = kRepository | config_list | mounts | start | stop;

inline constexpr std::int64_t kKiB = 1024;
inline constexpr std::int64_t kMiB = 1024 * kKiB;
inline constexpr std::int64_t kGiB = 1024 * kMiB;
inline constexpr std::int64_t kTiB = 1024 * kGiB;
inline constexpr std::int64_t kPiB = 1024 * kTiB;
inline constexpr std::int64_t kSecond = 1000;
inline constexpr std::int64_t kMinute = 60 * kSecond;
inline constexpr std::int64_t kHour = 60 * kMinute;
inline constexpr std::int64_t kDay = 24 * kHour;

/// A default that is no value: the machine says how many.
inline constexpr std::string_view kCores = "cores up to 4";

}  // namespace chronos::config::options
