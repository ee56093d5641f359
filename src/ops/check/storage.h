#pragma once

#include <string>
#include <vector>

#include "chronos/ops/check/check.h"

namespace chronos::ops::check {

/// Tries, with an object of its own below chronos/<stanza>/check, whatever pushing WAL, backing up,
/// restoring and expiring do to a repository: list, write, read, remove; in a bucket also uploads
/// in parts. One finding "repoN storage" if all of it works, else one for each thing that does not,
/// whose hint names the permission that is missing. Leaves nothing behind that it could remove.
std::vector<CheckFinding> check_storage(const repo::Repository& repository,
                                        const std::string& stanza);

}  // namespace chronos::ops::check
