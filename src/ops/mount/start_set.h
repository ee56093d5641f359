#pragma once

#include <string>
#include <vector>

#include "chronos/repo/manifest.h"

namespace chronos::ops::mount {

/// So much stored at most, and no file that is larger than the second one: of a large catalog a
/// few pages are read, which are asked for.
inline constexpr std::uint64_t kStartSetMax = std::uint64_t{6} << 20;
inline constexpr std::uint64_t kStartFileMax = std::uint64_t{1} << 20;

/// The files that a server reads before it takes its first session, and that the first questions
/// in these databases need; in any database of the cluster where none of the names is known. By
/// kind, as seen of servers: what else lies in a data directory is not read, however much that is.
/// What is needed first comes first; what is only likely is left out where it is a request each,
/// outside of bundles.
std::vector<const repo::ManifestFile*> start_set(const repo::Manifest& manifest,
                                                 const std::vector<std::string>& databases = {});

}  // namespace chronos::ops::mount
