#include <unistd.h>

#include "chronos/ops/archive/ready.h"
#include "chronos/ops/archive/service.h"
#include "chronos/requests/archive_settings.h"
#include "engine/roles.h"

namespace chronos::engine {
namespace {

using control::Message;

/// Segments under way for each one that is compressed: most of the time of a segment is spent on
/// the way to the disk or to a distant store.
constexpr std::size_t kUnderWayPerProcess = 8;
/// A note of commit times for so many segments.
constexpr std::size_t kCommitBatch = 16;

using Acknowledged = ops::archive::PushService::Acknowledged;

void answer(Channel& channel, const std::string& name, const Result<Acknowledged>& outcome) {
    if (!outcome) {
        channel.send_failure(outcome.error(), name);
        return;
    }
    Message message = Message("pushed").with("file", name);
    channel.send(*outcome == Acknowledged::dropped ? std::move(message).with("dropped", "1")
                                                   : std::move(message));
}

void take(Channel& channel, ops::archive::PushService& service, const Message& message) {
    if (message.verb != "push") {
        channel.send_failure(Error(ErrorKind::protocol, "unknown message '" + message.verb + "'"));
        return;
    }
    const std::string name(message.get_or("file", ""));
    // The name becomes part of paths.
    if (ops::archive::is_archivable_name(name))
        service.ask(name);
    else
        channel.send_failure(
            Error(ErrorKind::param_invalid, "'" + name + "' is no name of a WAL file"), name);
}

}  // namespace

Result<> serve_archive(requests::Context& context, Channel& channel) {
    const config::Config& config = context.config;
    const std::string pg_path = config.get_string("pg1-path");
    if (pg_path.empty())
        return Error(ErrorKind::option_required, "archive-push command requires option: pg1-path");
    ops::archive::PushSettings settings = CHRONOS_TRY(requests::archive_push_settings(config));
    settings.commit_batch = kCommitBatch;
    ops::archive::PushService service(
        std::move(settings), requests::archive_drop_settings(config),
        {.wal_path = pg_path + "/pg_wal",
         .threads = kUnderWayPerProcess * static_cast<std::size_t>(config.get_int("process-max"))},
        [&](const std::string& name, const Result<Acknowledged>& outcome) {
            answer(channel, name, outcome);
        });
    for (;;) {
        const auto message = channel.receive(context.cancel);
        // Not to wait for an upload that hangs: what is not whole has not appeared anywhere.
        if (!message && message.error().kind() == ErrorKind::cancelled) _exit(0);
        if (message && !*message) _exit(0);
        if (!message) {
            channel.send_failure(message.error());
            _exit(1);
        }
        take(channel, service, **message);
    }
}

}  // namespace chronos::engine
