#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "chronos/base/clock.h"
#include "chronos/base/result.h"
#include "chronos/repo/repository.h"

namespace chronos::repo {

/// What the last verification of a whole stanza found, for whoever wants to know without doing it
/// again. Kept at chronos/<stanza>/verify/result, where pgBackRest does not look, as lines of
/// "<key>=<value>"; losing it loses nothing.
struct VerifySummary {
    UnixTime started = 0;
    UnixTime finished = 0;
    bool full = false;  ///< read everything, whatever earlier runs had read
    std::uint64_t failures = 0;
    std::uint64_t notes = 0;
    std::uint64_t backups = 0;
    std::uint64_t wal_segments = 0;
    std::uint64_t bytes_read = 0;
    std::string first_failure;  ///< one line; "" if there was none
    bool operator==(const VerifySummary&) const = default;
};

/// nullopt if there never was one. `pass` is BackupInfo::cipher_pass.
Result<std::optional<VerifySummary>> load_verify_summary(const Repository& repository,
                                                         const std::string& stanza,
                                                         const std::string& pass);
Result<> save_verify_summary(const Repository& repository, const std::string& stanza,
                             const VerifySummary& summary, const std::string& pass);

}  // namespace chronos::repo
