#include <algorithm>

#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "engine/hook_command.h"
#include "engine/roles.h"

namespace chronos::engine {
namespace {

using control::Message;

/// Fields "env-<name>" as variables "<NAME>".
std::map<std::string, std::string> variables_of(const Message& message) {
    constexpr std::string_view kPrefix = "env-";
    std::map<std::string, std::string> result;
    for (const auto& [key, value] : message.fields) {
        if (!key.starts_with(kPrefix)) continue;
        std::string name = key.substr(kPrefix.size());
        for (char& c : name)
            c = c == '-' ? '_' : static_cast<char>(c >= 'a' && c <= 'z' ? c - 32 : c);
        // A variable ends at a zero byte, and with it what would hide behind it.
        result[name] = value.substr(0, value.find('\0'));
    }
    return result;
}

/// Fields "escape-<letter>". What is no plain word could end up as shell: it is left out, the
/// environment has it.
std::map<char, std::string> escapes_of(const Message& message) {
    constexpr std::string_view kPrefix = "escape-";
    std::map<char, std::string> result;
    for (const auto& [key, value] : message.fields) {
        if (key.size() != kPrefix.size() + 1 || !key.starts_with(kPrefix)) continue;
        const bool plain = std::ranges::all_of(value, [](unsigned char c) {
            return std::isalnum(c) != 0 || c == '.' || c == '_' || c == '-';
        });
        result[key.back()] = plain ? value : "";
    }
    return result;
}

}  // namespace

Result<> serve_hook(Channel& channel, const Cancellation& cancel) {
    const std::optional<Message> message = CHRONOS_TRY(channel.receive(cancel));
    if (!message || message->verb != "run")
        return Error(ErrorKind::protocol, "the server did not say what to run");
    const std::string name(message->get_or("name", "hook"));
    const HookCommand command{
        .text = expand_escapes(message->get_or("command", ""), escapes_of(*message)),
        .environment = variables_of(*message),
        .timeout = std::chrono::milliseconds(message->get_uint("timeout-ms").value_or(0)),
        .output = [&](std::string_view line) { log_info(name + ": " + std::string(line)); }};
    const int status = CHRONOS_TRY(run_hook_command(command, cancel));
    channel.send(Message("done").with("status", static_cast<std::uint64_t>(status)));
    return {};
}

}  // namespace chronos::engine
