#include "timeline.h"

#include <algorithm>
#include <charconv>
#include <cstdio>

#include "chronos/base/text.h"

namespace chronos::ops {
namespace {

Result<Timeline> newest_timeline(const ArchiveLocation& archive) {
    Timeline newest = 0;
    for (const storage::Entry& entry :
         CHRONOS_TRY(archive.repository->storage->list(archive.directory)))
        if (pgdata::is_timeline_history(entry.name))
            newest = std::max(newest, pgdata::timeline_of_segment(entry.name));
    return newest;
}

/// Decimal or hexadecimal with 0x, as PostgreSQL reads recovery_target_timeline.
Result<Timeline> parse_timeline(std::string_view text) {
    Timeline value = 0;
    const bool hexadecimal = text.starts_with("0x") || text.starts_with("0X");
    const std::string_view digits = hexadecimal ? text.substr(2) : text;
    const auto [end, code] =
        std::from_chars(digits.data(), digits.data() + digits.size(), value, hexadecimal ? 16 : 10);
    if (code != std::errc() || end != digits.data() + digits.size() || digits.empty())
        return Error(ErrorKind::db_mismatch, "invalid target timeline '" + printable(text) + "'");
    return value;
}

Result<Timeline> wanted_timeline(const RestoreRequest& request, RecoveryType type,
                                 const repo::Manifest& manifest, const TimelinePath& path) {
    std::string wanted = request.target_timeline;
    if (wanted.empty()) {
        // PostgreSQL 12 made 'latest' the default of recovery_target_timeline.
        const bool follows = major_of(manifest.pg_version) >= 12 &&
                             type != RecoveryType::immediate && type != RecoveryType::none;
        wanted = follows ? "latest" : "current";
    }
    if (wanted == "current") return path.backup;
    if (wanted == "latest") return std::max(path.newest, path.backup);
    return parse_timeline(wanted);
}

Error forked_too_early(const TimelinePath& path, const repo::Manifest& manifest, Lsn fork) {
    return Error(ErrorKind::db_mismatch,
                 "target timeline " + std::to_string(path.target) +
                     " forked from backup timeline " + std::to_string(path.backup) + " at " +
                     fork.str() + " which is before backup lsn of " + manifest.lsn_start->str())
        .with_hint("was the target timeline created by accidentally promoting a standby?")
        .with_hint(
            "was the target timeline created by testing a restore without --archive-mode=off?")
        .with_hint("was the backup made after the target timeline was created?");
}

Error not_in_history(const TimelinePath& path, const repo::Manifest& manifest) {
    return Error(ErrorKind::db_mismatch, "backup timeline " + std::to_string(path.backup) +
                                             ", lsn " + manifest.lsn_start->str() +
                                             " is not in the history of target timeline " +
                                             std::to_string(path.target))
        .with_hint("was the target timeline created by promoting from a timeline < latest?");
}

Result<> load_switches(const ArchiveLocation& archive, const repo::Manifest& manifest,
                       TimelinePath& path) {
    char name[32];
    std::snprintf(name, sizeof name, "/%08X.history", path.target);
    const std::string text = CHRONOS_TRY(
        repo::read_text(*archive.repository, archive.directory + name, archive.cipher_pass));
    const auto history = CHRONOS_TRY(pgdata::parse_timeline_history(text));
    auto line = std::find_if(history.begin(), history.end(), [&](const auto& candidate) {
        return candidate.parent == path.backup;
    });
    if (line == history.end()) return not_in_history(path, manifest);
    if (line->switch_lsn <= *manifest.lsn_start)
        return forked_too_early(path, manifest, line->switch_lsn);
    path.switches.assign(line, history.end());
    return {};
}

}  // namespace

unsigned major_of(std::string_view version) {
    return static_cast<unsigned>(parse_uint(version.substr(0, version.find('.'))).value_or(0));
}

Result<TimelinePath> check_timeline(const RestoreRequest& request, RecoveryType type,
                                    const repo::Manifest& manifest,
                                    const ArchiveLocation& archive) {
    TimelinePath path;
    path.backup = pgdata::timeline_of_segment(manifest.archive_start);
    path.newest = std::max(path.backup, CHRONOS_TRY(newest_timeline(archive)));
    path.target = CHRONOS_TRY(wanted_timeline(request, type, manifest, path));
    if (path.target != path.backup) CHRONOS_TRY(load_switches(archive, manifest, path));
    return path;
}

}  // namespace chronos::ops
