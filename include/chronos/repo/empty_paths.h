#pragma once

#include <string>

#include "chronos/storage/storage.h"

namespace chronos::repo {

/// Removes a directory and those above it in the repository, as long as they are empty: where
/// nothing is kept it looks as if nobody had been there. Nothing to do where there are none.
void remove_empty_paths(storage::Storage& storage, std::string path);

}  // namespace chronos::repo
