#include "engine/output_relay.h"
#include "engine/roles.h"

namespace chronos::engine {

using control::Message;

Result<> serve_command(requests::Context& context, Channel& channel, const Parts& parts) {
    const requests::Command command = parts.find_command(context.config.command());
    if (command == nullptr) return requests::not_in_this_version(context.config.command());
    int status = 0;
    {
        const auto relay = CHRONOS_TRY(OutputRelay::start(
            [&](std::string_view chunk) { channel.send(Message("output").with("text", chunk)); }));
        status = CHRONOS_TRY(requests::run_guarded(command, context));
    }
    channel.send(Message("done").with("status", static_cast<std::uint64_t>(status)));
    return {};
}

}  // namespace chronos::engine
