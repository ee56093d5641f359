#pragma once

#include "chronos/storage/storage.h"

namespace chronos::storage {

/// Whether this process may open the object of that name, as far as is known without opening it:
/// asks the file system where objects are files, and nobody elsewhere. True if there is none.
bool may_read(const Storage& storage, const ObjectName& name);

}  // namespace chronos::storage
