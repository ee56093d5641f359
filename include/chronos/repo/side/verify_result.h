#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "chronos/base/clock.h"
#include "chronos/base/result.h"
#include "chronos/repo/repository.h"

namespace chronos::repo {

/// What a verification of a whole stanza found, for whoever wants to know without doing it again.
/// The last one is kept at chronos/<stanza>/verify/result, where pgBackRest does not look, as lines
/// of "<key>=<value>", and the last kVerifyHistory of them, oldest first and with an empty line
/// between two, at chronos/<stanza>/verify/history; losing them loses nothing.
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

/// What is known of the verifications of a whole stanza that could not come to their end since the
/// last that did: an object could not be read, ... Kept at chronos/<stanza>/verify/unfinished in
/// the same form, until one comes to its end.
struct UnfinishedVerify {
    UnixTime since = 0;          ///< when the first of them ended
    UnixTime finished = 0;       ///< when the last of them ended
    std::string reason;          ///< one line
    std::uint64_t failures = 0;  ///< which the last one had found before its end
    std::string first_failure;
    bool operator==(const UnfinishedVerify&) const = default;
};

/// A month of daily runs, half a year of weekly ones; some 10 kB.
inline constexpr std::size_t kVerifyHistory = 30;

/// nullopt if there never was one. `pass` is BackupInfo::cipher_pass.
Result<std::optional<VerifySummary>> load_verify_summary(const Repository& repository,
                                                         const std::string& stanza,
                                                         const std::string& pass);
/// The last ones, oldest first: load_verify_summary() is the last of them. What a release without a
/// history has written is in it as far as it is still there.
Result<std::vector<VerifySummary>> load_verify_history(const Repository& repository,
                                                       const std::string& stanza,
                                                       const std::string& pass);
/// Adds it to the history, whose oldest one is dropped when it is full. What was unfinished before
/// it is forgotten.
Result<> save_verify_summary(const Repository& repository, const std::string& stanza,
                             const VerifySummary& summary, const std::string& pass);

/// nullopt if all came to their end, or one since: of a release that forgets none.
Result<std::optional<UnfinishedVerify>> load_unfinished_verify(const Repository& repository,
                                                               const std::string& stanza,
                                                               const std::string& pass);
/// `unfinished.since` is that of the one before it, if there is one.
Result<> save_unfinished_verify(const Repository& repository, const std::string& stanza,
                                const UnfinishedVerify& unfinished, const std::string& pass);

}  // namespace chronos::repo
