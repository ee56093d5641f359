#pragma once

#include <vector>

#include "chronos/repo/manifest.h"

namespace chronos::ops::mount {

/// The files that a server reads before it takes its first session, and that the first questions in
/// any of its databases need: all outside of the databases but the WAL, and catalogs. Of so much
/// stored; catalogs only where they lie in bundles, and so are a few requests.
inline constexpr std::uint64_t kStartSetMax = std::uint64_t{64} << 20;
std::vector<const repo::ManifestFile*> start_set(const repo::Manifest& manifest);

}  // namespace chronos::ops::mount
