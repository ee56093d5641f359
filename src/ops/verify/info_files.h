#pragma once

#include <optional>

#include "chronos/repo/info.h"
#include "ops/verify/scope.h"

namespace chronos::ops::verify {

struct InfoFiles {
    repo::ArchiveInfo archive;
    repo::BackupInfo backup;
};

/// archive.info, backup.info and the copy of each: readable, the same, and of the same clusters.
/// nullopt if one of the pairs cannot be read at all: then nothing else can be said.
Result<std::optional<InfoFiles>> verify_info_files(const Scope& scope);

}  // namespace chronos::ops::verify
