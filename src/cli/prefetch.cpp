#include "cli/prefetch.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <fstream>

#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/engine/guard.h"
#include "chronos/pgdata/wal.h"
#include "chronos/requests/archive_settings.h"

namespace chronos::cli {
namespace {

using ops::archive::Spool;

constexpr int kLockDescriptor = 3;
/// For a recovery, no further file is begun after this time. Where filling the spool takes longer,
/// the next archive-get starts the next process; where there is no next one, the recovery is over.
constexpr std::chrono::milliseconds kLifetime(60'000);
/// Whoever asks for segments in a loop asks for the next one within this time.
constexpr std::chrono::milliseconds kReaderPause(2000);
/// From the end of one archive-get to that of the next, which may have to wait for a distant store.
constexpr std::chrono::milliseconds kReaderPatience(10'000);
/// The server, and what it waits for, comes first.
constexpr int kNice = 5;
constexpr std::int64_t kThreadsDefault = 2;
constexpr std::int64_t kThreadsMax = 4;

bool in_recovery(const std::string& pg_path) {
    return ::access((pg_path + "/recovery.signal").c_str(), F_OK) == 0 ||
           ::access((pg_path + "/standby.signal").c_str(), F_OK) == 0;
}

/// 0 if no server runs on the data directory.
pid_t postmaster_of(const std::string& pg_path) {
    pid_t pid = 0;
    std::ifstream(pg_path + "/postmaster.pid") >> pid;
    return pid > 0 && (::kill(pid, 0) == 0 || errno == EPERM) ? pid : 0;
}

unsigned thread_count(const config::Config& config) {
    const std::int64_t count =
        config.has("process-max") ? config.get_int("process-max") : kThreadsDefault;
    return static_cast<unsigned>(std::min(count, kThreadsMax));
}

/// Who names the repository, or a time of it, wants to know what that one has.
bool asks_for_a_repository(const config::Config& config) {
    if (config.has("repo")) return true;
    return std::ranges::any_of(config.repo_keys(), [&](unsigned key) {
        constexpr config::GroupName kOptions[] = {"repo-path", "repo-s3-bucket", "repo-s3-endpoint",
                                                  "repo-target-time"};
        return std::ranges::any_of(kOptions, [&](config::GroupName option) {
            return config.source({option, key}) == config::Source::command_line;
        });
    });
}

/// Whether `name` comes after what was asked for a moment ago.
bool is_loop(const Spool& spool, const std::string& name) {
    const auto before = spool.last_asked();
    if (!before || !spool.is_next(before->segment, name)) return false;
    const auto ago = std::chrono::system_clock::now().time_since_epoch() - before->at;
    return ago >= ago.zero() && ago < kReaderPause;
}

/// Nothing of whoever started archive-get is held: no pipe it reads, no directory it may want to
/// unmount, no terminal. Only the lock of the spool is kept.
bool detach(int lock) {
    ::setsid();
    const int null = ::open("/dev/null", O_RDWR);
    for (const int standard : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
        if (::dup2(null, standard) < 0) return false;
    if (lock != kLockDescriptor && ::dup2(lock, kLockDescriptor) < 0) return false;
    if (::syscall(SYS_close_range, kLockDescriptor + 1, ~0U, 0) != 0)  // not before Linux 5.9
        for (int fd = kLockDescriptor + 1; fd < 1024; ++fd) ::close(fd);
    return ::chdir("/") == 0;
}

void fetch_for_recovery(const ops::archive::GetSettings& settings, const Spool& spool,
                        const std::string& segment, unsigned threads) {
    const std::string& pg_path = settings.pg_path;
    const pid_t postmaster = postmaster_of(pg_path);
    const Deadline deadline(kLifetime);
    ops::archive::fetch_ahead(settings, spool, segment, threads, [&] {
        return !deadline.passed() && !spool.must_clear() && in_recovery(pg_path) &&
               postmaster_of(pg_path) == postmaster;
    });
    if (spool.must_clear() && spool.is_locked_by(kLockDescriptor)) spool.clean("");
}

void fetch(const config::Config& config, const Spool& spool, const std::string& segment,
           bool recovery) {
    // With connections of its own: those of the parent are the parent's.
    auto settings = requests::archive_get_settings(config);
    if (!settings) return;
    settings->ahead = true;
    spool.clean(segment);
    const unsigned threads = thread_count(config);
    if (recovery) return fetch_for_recovery(*settings, spool, segment, threads);
    ops::archive::fetch_for_reader(*settings, spool, segment, threads, kReaderPatience,
                                   kLockDescriptor);
}

[[noreturn]] void run_fetcher(const config::Config& config, const Spool& spool,
                              const std::string& segment, bool recovery, int lock) noexcept {
    if (!detach(lock)) _exit(1);
    engine::enter_guarded_worker();
    ::prctl(PR_SET_NAME, "chronos-fetcher");
    [[maybe_unused]] const int ignored = ::setpriority(PRIO_PROCESS, 0, kNice);
    set_log_receiver([](LogLevel, std::string_view) {});
    try {
        fetch(config, spool, segment, recovery);
    } catch (const std::exception&) {
        _exit(1);  // memory ran out
    }
    _exit(0);
}

/// Once: the next segment is asked for in a moment. A queue of nothing is what somebody wanted.
void say_why_not(const config::Config& config, const Spool& spool, std::uint32_t segment_size) {
    const std::uint64_t queue_max = config.get_size("archive-get-queue-max");
    if (queue_max == 0 || !spool.first_to_say()) return;
    constexpr std::uint64_t kWorthwhile = 4;
    log_warn("WAL is not fetched ahead of the recovery: a segment of " + format_size(segment_size) +
             " does not fit into archive-get-queue-max (" + format_size(queue_max) +
             ")\nHINT: With archive-get-queue-max=" +
             std::to_string((kWorthwhile * segment_size) >> 20) +
             "MiB the next segments are on their way while one is replayed; the spool takes as "
             "much room.");
}

}  // namespace

Prefetch::Prefetch(requests::Context& context, std::string name)
    : context_(context),
      name_(std::move(name)),
      recovery_(in_recovery(context.config.get_string("pg1-path"))) {
    const config::Config& config = context.config;
    const std::string pg_path = config.get_string("pg1-path");
    const auto control = pgdata::read_control_file(pg_path);
    if (!control) return;
    // What was fetched from another repository is no answer to who asks for one of them.
    if (!recovery_ && asks_for_a_repository(config)) return;
    auto spool = Spool::of({config.get_string("spool-path"), config.stanza(), pg_path}, *control,
                           config.get_size("archive-get-queue-max"));
    if (!spool) return;
    if (!spool->enabled()) {
        if (recovery_) say_why_not(config, *spool, control->wal_segment_size);
        return;
    }
    spool_ = std::move(*spool);
    if (!recovery_) follows_ = is_loop(*spool_, name_);
}

bool Prefetch::take(const std::string& destination) const {
    return spool_ && pgdata::is_wal_segment(name_) &&
           spool_->take(name_, destination, context_.cancel);
}

void Prefetch::go_on() const {
    if (!spool_ || !pgdata::is_wal_segment(name_)) return;
    if (!recovery_ && (!spool_->note_asked(name_) || !follows_)) return;
    if (!spool_->is_low(name_)) return;
    const auto lock = spool_->lock();
    if (!lock || !*lock) return;
    // Buffered output would be written twice; there is none. The child does not wait for its own
    // child, the guard does, and whoever adopts the guard sees it exit.
    if (::fork() == 0) run_fetcher(context_.config, *spool_, name_, recovery_, (*lock)->get());
}

void Prefetch::clear_between() const {
    if (!spool_ || !pgdata::is_timeline_history(name_)) return;
    spool_->clear();
}

}  // namespace chronos::cli
