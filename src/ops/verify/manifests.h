#pragma once

#include <optional>
#include <string>

#include "chronos/repo/info.h"
#include "chronos/repo/manifest.h"
#include "ops/verify/ledger.h"
#include "ops/verify/scope.h"

namespace chronos::ops::verify {

struct LoadedManifest {
    std::optional<repo::Manifest> manifest;
    FindingId finding = kNoFinding;  ///< why there is none
};

/// Both files of a manifest, which must be readable and the same; the ledger is told which text its
/// objects were compared with.
Result<LoadedManifest> load_manifest_pair(const Scope& scope, const Listing& listing,
                                          const repo::BackupInfo& info, const std::string& label,
                                          Ledger& ledger);

/// That the manifest is the one of its directory, of a cluster of the stanza, and the one that
/// backup.info describes. False if a restore could not use it.
bool check_manifest(const Scope& scope, const repo::BackupInfo& info, const std::string& label,
                    const repo::Manifest& manifest);

}  // namespace chronos::ops::verify
