#include "cli/commands.h"
#include "cli/server_commands.h"

namespace chronos::cli {

Result<int> run_stanza_create(Context& context) {
    const config::Config& config = context.config;
    if (config.get_bool("online")) {
        const auto connection = CHRONOS_TRY(connect_to_server(context));
        CHRONOS_TRY(create_stanza_over(context, *connection));
        return 0;
    }
    const auto control = CHRONOS_TRY(pgdata::read_control_file(config.get_string("pg1-path")));
    const ops::stanza::StanzaRequest request{
        config.stanza(), CHRONOS_TRY(open_repositories(config)), config.get_string("lock-path"),
        config.get_string("exec-id")};
    CHRONOS_TRY(ops::stanza::create_stanza(request, control));
    return 0;
}

}  // namespace chronos::cli
