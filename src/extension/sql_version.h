#pragma once

#include "extension/postgres_api.h"

namespace chronos::extension {

/// That the SQL objects of this database are of another release than the module that the server
/// runs, and what ends that; both nullptr if they are of the same, or there are none.
struct SqlVersion {
    const char* difference;
    const char* remedy;
};

/// Inside a transaction. What comes back lives in the caller's memory context.
SqlVersion compare_sql_version();

/// A warning of that in the server log, once: who upgrades the package and restarts the server has
/// done half of it. Inside a transaction, with SPI connected.
void tell_of_sql_version();

}  // namespace chronos::extension
