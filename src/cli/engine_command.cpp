#include "cli/engine_roles.h"
#include "cli/output_relay.h"

namespace chronos::cli {

using control::Message;

Result<> serve_command(Context& context, EngineChannel& channel, const EngineParts& parts) {
    const Command command = parts.find_command(context.config.command());
    if (command == nullptr) return not_in_this_version(context.config.command());
    int status = 0;
    {
        const auto relay = CHRONOS_TRY(OutputRelay::start(
            [&](std::string_view chunk) { channel.send(Message("output").with("text", chunk)); }));
        status = CHRONOS_TRY(run_guarded(command, context));
    }
    channel.send(Message("done").with("status", static_cast<std::uint64_t>(status)));
    return {};
}

}  // namespace chronos::cli
