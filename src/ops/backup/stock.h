#pragma once

#include <string>

#include "chronos/repo/manifest.h"
#include "chronos/repo/repository.h"

namespace chronos::ops::backup {

/// Takes those files out of the prior whose stored copies are not in the repository any more, or
/// are shorter than they were: the new backup must not refer to them, and stores them again. Each
/// object that is not whole is a warning. One listing for each backup that the prior refers to;
/// what is in an object is not looked at, and blocks that a map refers to elsewhere are not either.
Result<> drop_lost_files(const repo::Repository& repository, const std::string& stanza,
                         repo::Manifest& prior);

}  // namespace chronos::ops::backup
