#include <unistd.h>

#include "chronos/base/log.h"
#include "chronos/ops/archive_ahead.h"
#include "chronos/ops/archive_dropped.h"
#include "chronos/ops/archive_service.h"
#include "cli/archive_settings.h"
#include "cli/engine_roles.h"

namespace chronos::cli {
namespace {

using control::Message;

/// Segments under way for each one that is compressed: most of the time of a segment is spent on
/// the way to the disk or to a distant store.
constexpr std::size_t kUnderWayPerProcess = 4;
/// A note of commit times for so many segments.
constexpr std::size_t kCommitBatch = 16;

void answer(EngineChannel& channel, const std::string& name, const Result<>& outcome) {
    if (outcome)
        channel.send(Message("pushed").with("file", name));
    else
        channel.send_failure(outcome.error(), name);
}

/// What a message is taken to.
struct Archive {
    EngineChannel& channel;
    ops::archive::PushService& service;
    ops::archive::DroppedWal& dropped;
    std::string wal_path;
};

/// True if the file is acknowledged without being stored, because too much waits.
bool drop(Archive& archive, const std::string& name) {
    const std::string path = archive.wal_path + "/" + name;
    const Result<bool> exceeded = archive.dropped.queue_exceeded(path);
    if (!exceeded || !*exceeded || archive.service.has_stored(name)) return false;
    const Result<> recorded = archive.dropped.drop(name, path);
    // Once it is acknowledged the server may use the file for other WAL.
    if (recorded) archive.service.withdraw(name);
    if (recorded)
        archive.channel.send(Message("pushed").with("file", name).with("dropped", "1"));
    else
        log_warn("archive-push-queue-max is exceeded, but '" + name +
                 "' is not dropped because that cannot be recorded: " + recorded.error().message());
    return static_cast<bool>(recorded);
}

void take(Archive& archive, const Message& message) {
    EngineChannel& channel = archive.channel;
    if (message.verb != "push") {
        channel.send_failure(Error(ErrorKind::protocol, "unknown message '" + message.verb + "'"));
        return;
    }
    const std::string name(message.get_or("file", ""));
    // The name becomes part of paths.
    if (ops::archive::is_archivable_name(name)) {
        if (!drop(archive, name)) archive.service.ask(name);
    } else {
        channel.send_failure(
            Error(ErrorKind::param_invalid, "'" + name + "' is no name of a WAL file"), name);
    }
}

}  // namespace

Result<> serve_archive(Context& context, EngineChannel& channel) {
    const config::Config& config = context.config;
    const std::string pg_path = config.get_string("pg1-path");
    if (pg_path.empty())
        return Error(ErrorKind::option_required, "archive-push command requires option: pg1-path");
    ops::archive::PushSettings settings = CHRONOS_TRY(archive_push_settings(config));
    settings.commit_batch = kCommitBatch;
    ops::archive::ArchivePusher pusher(settings);
    const std::string wal_path = pg_path + "/pg_wal";
    ops::archive::DroppedWal dropped(archive_drop_settings(config), pusher);
    ops::archive::PushService service(
        settings,
        {.wal_path = wal_path,
         .threads = kUnderWayPerProcess * static_cast<std::size_t>(config.get_int("process-max"))},
        [&](const std::string& name, const Result<>& outcome) {
            answer(channel, name, outcome);
            if (outcome) dropped.report();
        });
    Archive archive{channel, service, dropped, wal_path};
    for (;;) {
        const auto message = channel.receive(context.cancel);
        // Not to wait for an upload that hangs: what is not whole has not appeared anywhere.
        if (!message && message.error().kind() == ErrorKind::cancelled) _exit(0);
        if (message && !*message) _exit(0);
        if (!message) {
            channel.send_failure(message.error());
            _exit(1);
        }
        take(archive, **message);
    }
}

}  // namespace chronos::cli
