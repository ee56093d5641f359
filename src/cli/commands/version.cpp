#include "chronos/present/print.h"
#include "chronos/repo/repository.h"
#include "cli/commands/commands.h"

namespace chronos::cli {

Result<int> run_version(requests::Context& context) {
    const std::string output = context.config.get_string("output");
    if (output == "num") {
        CHRONOS_TRY(present::print("2059001\n"));
        return 0;
    }
    // Under that name, wrappers look for the release that wrote the format.
    if (context.invoked_as == "pgbackrest") {
        CHRONOS_TRY(present::print("pgBackRest " + std::string(repo::kFormatVersion) + "\n"));
        return 0;
    }
    CHRONOS_TRY(present::print("chronos " CHRONOS_VERSION " (pgBackRest repository format " +
                               std::to_string(repo::kFormatNumber) + ")\n"));
    return 0;
}

}  // namespace chronos::cli
