#pragma once

#include <string>

#include "chronos/base/result.h"
#include "chronos/db/connection.h"

namespace chronos::db {

/// The files that a server reads its settings and its rules of access from; "" for what the role of
/// the session may not see.
struct ConfigPlaces {
    std::string config_file;
    std::string hba_file;
    std::string ident_file;
};
Result<ConfigPlaces> config_places(Connection& connection);

}  // namespace chronos::db
