#include <unistd.h>

#include <map>
#include <mutex>
#include <set>

#include "chronos/base/log.h"
#include "chronos/ops/archive/ahead.h"
#include "chronos/ops/archive/dropped.h"
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

/// WAL that repositories go without because too much waits: of all of them, and of each if there
/// are several, so that the ones that keep up lose nothing by one that does not.
class Drops {
public:
    Drops(const ops::archive::PushSettings& push, const ops::archive::DropSettings& drop)
        : pusher_(push), all_(drop, pusher_) {
        if (push.repositories.size() > 1)
            for (const repo::Repository& repository : push.repositories)
                each_.try_emplace(repository.key, push, drop, repository);
    }

    /// The repositories that go without the file from now on.
    std::set<unsigned> drop(const ops::archive::PushService& service, const std::string& name,
                            const std::string& path);
    /// Whether any of them went without a file that has been acknowledged.
    bool take(const std::string& name);
    /// All have taken a file; or one has, if there are several.
    void report() { all_.report(); }
    void report(unsigned key);

private:
    struct One {
        One(ops::archive::PushSettings push, ops::archive::DropSettings drop,
            const repo::Repository& repository)
            : pusher(narrow(std::move(push), repository)),
              dropped(narrow(std::move(drop), repository), pusher) {}
        static ops::archive::PushSettings narrow(ops::archive::PushSettings push,
                                                 const repo::Repository& repository) {
            push.repositories = {repository};
            return push;
        }
        static ops::archive::DropSettings narrow(ops::archive::DropSettings drop,
                                                 const repo::Repository& repository) {
            drop.repo_key = repository.key;
            return drop;
        }
        ops::archive::ArchivePusher pusher;
        ops::archive::DroppedWal dropped;
    };
    ops::archive::DroppedWal& of(unsigned key) {
        const auto found = each_.find(key);
        return found == each_.end() ? all_ : found->second.dropped;
    }

    ops::archive::ArchivePusher pusher_;
    ops::archive::DroppedWal all_;
    std::map<unsigned, One> each_;
    std::mutex mutex_;
    std::set<std::string> names_;  ///< dropped and not acknowledged yet
};

std::set<unsigned> Drops::drop(const ops::archive::PushService& service, const std::string& name,
                               const std::string& path) {
    const Result<bool> exceeded = all_.queue_exceeded(path);
    if (!exceeded || !*exceeded) return {};
    std::set<unsigned> without;
    for (const unsigned key : service.behind(name)) {
        const Result<> recorded = of(key).drop(name, path);
        if (recorded)
            without.insert(key);
        else
            log_warn(
                "archive-push-queue-max is exceeded, but '" + name +
                "' is not dropped because that cannot be recorded: " + recorded.error().message());
    }
    if (without.empty()) return without;
    const std::lock_guard lock(mutex_);
    names_.insert(name);
    return without;
}

bool Drops::take(const std::string& name) {
    const std::lock_guard lock(mutex_);
    return names_.erase(name) > 0;
}

void Drops::report(unsigned key) {
    if (!each_.empty()) of(key).report();
}

void answer(EngineChannel& channel, Drops& drops, const std::string& name,
            const Result<>& outcome) {
    if (!outcome) {
        channel.send_failure(outcome.error(), name);
        return;
    }
    const bool dropped = drops.take(name);
    Message message = Message("pushed").with("file", name);
    channel.send(dropped ? std::move(message).with("dropped", "1") : std::move(message));
    if (!dropped) drops.report();
}

/// What a message is taken to.
struct Archive {
    EngineChannel& channel;
    ops::archive::PushService& service;
    Drops& drops;
    std::string wal_path;
};

void take(Archive& archive, const Message& message) {
    EngineChannel& channel = archive.channel;
    if (message.verb != "push") {
        channel.send_failure(Error(ErrorKind::protocol, "unknown message '" + message.verb + "'"));
        return;
    }
    const std::string name(message.get_or("file", ""));
    // The name becomes part of paths.
    if (ops::archive::is_archivable_name(name))
        archive.service.ask(
            name, archive.drops.drop(archive.service, name, archive.wal_path + "/" + name));
    else
        channel.send_failure(
            Error(ErrorKind::param_invalid, "'" + name + "' is no name of a WAL file"), name);
}

}  // namespace

Result<> serve_archive(requests::Context& context, EngineChannel& channel) {
    const config::Config& config = context.config;
    const std::string pg_path = config.get_string("pg1-path");
    if (pg_path.empty())
        return Error(ErrorKind::option_required, "archive-push command requires option: pg1-path");
    ops::archive::PushSettings settings = CHRONOS_TRY(requests::archive_push_settings(config));
    settings.commit_batch = kCommitBatch;
    const std::string wal_path = pg_path + "/pg_wal";
    Drops drops(settings, requests::archive_drop_settings(config));
    ops::archive::PushService service(
        settings,
        {.wal_path = wal_path,
         .threads = kUnderWayPerProcess * static_cast<std::size_t>(config.get_int("process-max"))},
        [&](const std::string& name, const Result<>& outcome) {
            answer(channel, drops, name, outcome);
        },
        [&](unsigned key) { drops.report(key); });
    Archive archive{channel, service, drops, wal_path};
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

}  // namespace chronos::engine
