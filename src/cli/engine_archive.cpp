#include <unistd.h>

#include "chronos/ops/archive_ahead.h"
#include "cli/archive_settings.h"
#include "cli/engine_roles.h"

namespace chronos::cli {
namespace {

using control::Message;

/// Segments under way for each one that is compressed: most of the time of a segment is spent on
/// the way to the disk or to a distant store.
constexpr std::size_t kUnderWayPerProcess = 4;

void answer(EngineChannel& channel, const std::string& name, const Result<>& outcome) {
    if (outcome)
        channel.send(Message("pushed").with("file", name));
    else
        channel.send_failure(outcome.error(), name);
}

void take(EngineChannel& channel, ops::archive::PushAhead& ahead, const Message& message) {
    if (message.verb != "push") {
        channel.send_failure(Error(ErrorKind::protocol, "unknown message '" + message.verb + "'"));
        return;
    }
    const std::string name(message.get_or("file", ""));
    // The name becomes part of paths.
    if (ops::archive::is_archivable_name(name))
        ahead.ask(name);
    else
        channel.send_failure(
            Error(ErrorKind::param_invalid, "'" + name + "' is no name of a WAL file"), name);
}

}  // namespace

Result<> serve_archive(Context& context, EngineChannel& channel) {
    const config::Config& config = context.config;
    const std::string pg_path = config.get_string("pg1-path");
    if (pg_path.empty())
        return Error(ErrorKind::option_required, "archive-push command requires option: pg1-path");
    ops::archive::ArchivePusher pusher(CHRONOS_TRY(archive_push_settings(config)));
    ops::archive::PushAhead ahead(
        {.wal_path = pg_path + "/pg_wal",
         .threads = kUnderWayPerProcess * static_cast<std::size_t>(config.get_int("process-max"))},
        [&](const std::string& name, const std::string& path, bool& partly) {
            return pusher.push(name, path, &partly);
        },
        [&](const std::string& name, const Result<>& outcome) { answer(channel, name, outcome); });
    for (;;) {
        const auto message = channel.receive(context.cancel);
        // Not to wait for an upload that hangs: what is not whole has not appeared anywhere.
        if (!message && message.error().kind() == ErrorKind::cancelled) _exit(0);
        if (message && !*message) _exit(0);
        if (!message) {
            channel.send_failure(message.error());
            _exit(1);
        }
        take(channel, ahead, **message);
    }
}

}  // namespace chronos::cli
