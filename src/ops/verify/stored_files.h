#pragma once

#include <set>
#include <string>
#include <vector>

#include "chronos/repo/manifest.h"
#include "ops/verify/ledger.h"
#include "ops/verify/scope.h"

namespace chronos::ops::verify {

struct StoredFilesRequest {
    const repo::Manifest& manifest;
    const Listing& listing;  ///< of the repository's backup/<stanza>
    const std::set<std::string>& gone;
    Ledger& ledger;
    /// Whether every file is decoded, or only as many as show that the passphrase and the
    /// compression are right where the manifest has the SHA-1 of the stored bytes.
    bool content = true;
};

/// Compares everything that the backup stores itself with its manifest, each object once: a bundle
/// in large pieces, other files one by one, the largest first. For each file of the manifest, by
/// its index, what was found wrong with it.
Result<std::vector<FindingId>> verify_stored_files(const Scope& scope,
                                                   const StoredFilesRequest& request);

}  // namespace chronos::ops::verify
