#pragma once

#include <optional>
#include <string>

#include "chronos/repo/info.h"
#include "ops/repair/plan.h"

namespace chronos::ops::repair {

/// One file of a pair, as it was found.
struct FoundFile {
    enum class As {
        good,
        missing,
        damaged,
        blocked,  ///< something that is no file has its name
    } as = As::missing;
    std::string text;  ///< of a good one
    std::string why;   ///< of a damaged or blocked one
};

/// archive.info or backup.info with its copy.
template <class Info>
struct FoundInfo {
    std::string name;  ///< "backup/main/backup.info"
    FoundFile main;
    FoundFile copy;
    std::optional<Info> info;  ///< what readers get
    bool missing() const {
        return main.as == FoundFile::As::missing && copy.as == FoundFile::As::missing;
    }
};

struct FoundInfos {
    FoundInfo<repo::ArchiveInfo> archive;
    FoundInfo<repo::BackupInfo> backup;
};

/// Kind crypto if the passphrase opens none of those that are there.
Result<FoundInfos> find_infos(const Place& place);

/// A step for a pair of which one file is good: it is written again under both names.
void mend_pair(const Place& place, const FoundInfo<repo::ArchiveInfo>& found, Plan& plan);
void mend_pair(const Place& place, const FoundInfo<repo::BackupInfo>& found, Plan& plan);

/// A step that writes an info file anew. `why` says how it came about: "rebuilt from ...".
void rewrite(const Place& place, const FoundInfo<repo::ArchiveInfo>& found, repo::ArchiveInfo info,
             const std::string& wrong, const std::string& why, Plan& plan);
void rewrite(const Place& place, const FoundInfo<repo::BackupInfo>& found, repo::BackupInfo info,
             const std::string& wrong, const std::string& why, Plan& plan);

/// "is missing" or "cannot be read: ...", of both files.
template <class Info>
std::string what_is_wrong(const FoundInfo<Info>& found);

}  // namespace chronos::ops::repair
