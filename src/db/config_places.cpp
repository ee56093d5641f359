#include "chronos/db/config_places.h"

namespace chronos::db {

Result<ConfigPlaces> config_places(Connection& connection) {
    // Of settings that the role may not see pg_settings has no row, where current_setting() fails.
    const Rows rows =
        CHRONOS_TRY(connection.query("SELECT name, setting FROM pg_catalog.pg_settings"
                                     " WHERE name IN ('config_file', 'hba_file', 'ident_file')",
                                     {}));
    ConfigPlaces places;
    for (const auto& row : rows) {
        if (row.size() < 2) continue;
        const std::string name = row[0].value_or("");
        const std::string path = row[1].value_or("");
        if (name == "config_file") places.config_file = path;
        if (name == "hba_file") places.hba_file = path;
        if (name == "ident_file") places.ident_file = path;
    }
    return places;
}

}  // namespace chronos::db
