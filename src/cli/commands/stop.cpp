#include "chronos/ops/stop/stop.h"

#include "cli/commands/commands.h"

namespace chronos::cli {

Result<int> run_start(requests::Context& context) {
    const config::Config& config = context.config;
    CHRONOS_TRY(ops::stop::start({config.stanza(), config.get_string("lock-path"), false}));
    return 0;
}

Result<int> run_stop(requests::Context& context) {
    const config::Config& config = context.config;
    CHRONOS_TRY(ops::stop::stop(
        {config.stanza(), config.get_string("lock-path"), config.get_bool("force")}));
    return 0;
}

}  // namespace chronos::cli
