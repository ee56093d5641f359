#pragma once

#include "chronos/storage/storage.h"

namespace chronos::storage {

/// Returns when an object that somebody else wrote, who may have been killed before he had synced
/// it, survives a power failure: its content and the names that lead to it. Nothing to do where
/// there are no directories: such an object is there for good as soon as it can be seen.
Result<> make_durable(Storage& storage, const ObjectName& name);

}  // namespace chronos::storage
