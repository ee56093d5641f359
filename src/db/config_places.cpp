#include "chronos/db/config_places.h"

namespace chronos::db {

Result<ServerFiles> config_places(Connection& connection) {
    // Of settings that the role may not see, or the server does not have, pg_settings has no row,
    // where current_setting() fails.
    const Rows rows =
        CHRONOS_TRY(connection.query("SELECT name, setting FROM pg_catalog.pg_settings"
                                     " WHERE name LIKE '%\\_file'",
                                     {}));
    ServerFiles places;
    for (const auto& row : rows)
        for (const ServerFileSetting& setting : kServerFileSettings)
            if (row.size() == 2 && row[0] == setting.name)
                places.*setting.path = row[1].value_or("");
    return places;
}

}  // namespace chronos::db
