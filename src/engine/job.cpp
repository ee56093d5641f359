#include "chronos/base/log.h"
#include "engine/output_relay.h"
#include "engine/roles.h"

namespace chronos::engine {
namespace {

using control::Message;

/// What a command prints is for people: in a job they find it in the log.
class OutputLog {
public:
    void add(std::string_view chunk) {
        lines_.append(chunk);
        while (const auto line = lines_.next_line()) log_info(*line);
    }
    void finish() {
        if (lines_.has_partial_line()) add("\n");
    }

private:
    control::LineBuffer lines_;
};

void send_finding(Channel& channel, const requests::Finding& finding) {
    channel.send(Message("finding")
                     .with("test", finding.test)
                     .with("status", finding.status)
                     .with("message", finding.message)
                     .with("hint", finding.hint));
}

}  // namespace

Result<> serve_job(requests::Context& context, Channel& channel, const Parts& parts) {
    const std::string name = context.config.command();
    const requests::Command command = parts.find_job(name);
    if (command == nullptr) return requests::not_in_this_version(name);
    Message done("done");
    context.finding = [&](const requests::Finding& finding) { send_finding(channel, finding); };
    context.result = [&](std::string_view key, std::string_view value) {
        // It changes the message in its place: assigned to itself it would be empty.
        static_cast<void>(std::move(done).with(key, value));
    };
    int status = 0;
    OutputLog output;
    {
        const auto relay =
            CHRONOS_TRY(OutputRelay::start([&](std::string_view chunk) { output.add(chunk); }));
        status = CHRONOS_TRY(requests::run_guarded(command, context));
    }
    output.finish();
    channel.send(std::move(done).with("status", static_cast<std::uint64_t>(status)));
    return {};
}

}  // namespace chronos::engine
