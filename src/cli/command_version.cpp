#include "chronos/repo/repository.h"
#include "cli/commands.h"
#include "cli/print.h"

namespace chronos::cli {

Result<int> run_version(Context& context) {
    const std::string output = context.config.get_string("output");
    if (output == "num") {
        CHRONOS_TRY(print("2059001\n"));
        return 0;
    }
    // Under that name, wrappers look for the release that wrote the format.
    if (context.invoked_as == "pgbackrest") {
        CHRONOS_TRY(print("pgBackRest " + std::string(repo::kFormatVersion) + "\n"));
        return 0;
    }
    CHRONOS_TRY(print("chronos " CHRONOS_VERSION " (pgBackRest repository format " +
                      std::to_string(repo::kFormatNumber) + ")\n"));
    return 0;
}

}  // namespace chronos::cli
