#pragma once

#include "chronos/storage/storage.h"

namespace chronos::storage {

/// Moves an object, or a directory with all below it, to a name that nothing has yet: at once where
/// features().atomic_rename says so, else object by object, each copied and then removed. What was
/// interrupted is completed by the same call again. Kind not_found if there is nothing under either
/// name. Durable when it returns.
Result<> move_tree(Storage& storage, const ObjectName& from, const ObjectName& to);
/// The stored bytes of an object under a second name.
Result<> copy_object(Storage& storage, const ObjectName& from, const ObjectName& to);

}  // namespace chronos::storage
