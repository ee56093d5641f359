#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chronos/base/clock.h"
#include "chronos/base/result.h"
#include "chronos/repo/repository.h"

namespace chronos::repo {

/// The record of a restore drill: chronos/<stanza>/drills/20261120T151617Z-passed-1a2b3c4d.json.
/// Ours alone: pgBackRest does not look there. The name says when the drill ended (UTC) and how, so
/// that "is a drill overdue" is one listing, for which no passphrase is needed; the content is the
/// JSON report (docs/drills.md), encrypted as info files are.
struct DrillRecord {
    std::string name;  ///< the object, without directory
    UnixTime finished = 0;
    bool passed = false;
    std::string id;  ///< 8 hexadecimal digits
};

/// nullopt if it is no name of a record.
std::optional<DrillRecord> parse_drill_name(std::string_view name);
std::string drill_name(UnixTime finished, bool passed, const std::string& id);

/// Oldest first; of the same second, a failed one last.
Result<std::vector<DrillRecord>> list_drills(const Repository& repository,
                                             const std::string& stanza);
/// The JSON text. `pass` is BackupInfo::cipher_pass.
Result<std::string> read_drill(const Repository& repository, const std::string& stanza,
                               const std::string& name, const std::string& pass);
/// Seconds from nothing to a recovered server, as the report of a drill says; nullopt if it does
/// not.
std::optional<double> drill_recovery_time(std::string_view json);
Result<> save_drill(const Repository& repository, const std::string& stanza,
                    const std::string& name, const std::string& json, const std::string& pass);

}  // namespace chronos::repo
