#pragma once

#include "cli/context.h"

namespace chronos::cli {

/// `archive-get --ls` and `info --wal`: prints which WAL the stanza's archives hold, what is
/// missing and where one can recover to, as text or as JSON. Kind option_required without a stanza.
Result<> print_wal_report(Context& context);

}  // namespace chronos::cli
