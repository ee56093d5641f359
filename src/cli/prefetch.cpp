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
#include <cerrno>
#include <fstream>
#include <thread>

#include "chronos/base/log.h"
#include "chronos/pgdata/wal.h"
#include "cli/archive_settings.h"
#include "cli/engine_guard.h"

namespace chronos::cli {
namespace {

using ops::archive::Spool;

constexpr int kLockDescriptor = 3;
/// After this time no further file is begun. Where filling the spool takes longer, the next
/// archive-get starts the next process; where there is no next one, the recovery is over.
constexpr std::chrono::milliseconds kLifetime(60'000);
/// Whoever asks for segments in a loop asks for the next one within this time.
constexpr std::chrono::milliseconds kReaderPause(2000);
constexpr std::chrono::milliseconds kReaderPoll(5);
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

/// What is common to those that fetch for a recovery and for a reader.
struct Job {
    const ops::archive::GetSettings& settings;
    const Spool& spool;
    unsigned threads;
    Deadline deadline;
};

void fetch_for_recovery(const Job& job, const std::string& segment) {
    const std::string& pg_path = job.settings.pg_path;
    const pid_t postmaster = postmaster_of(pg_path);
    ops::archive::fetch_ahead(job.settings, job.spool, segment, job.threads, [&] {
        return !job.deadline.passed() && !job.spool.must_clear() && in_recovery(pg_path) &&
               postmaster_of(pg_path) == postmaster;
    });
    if (job.spool.must_clear()) job.spool.clean("");
}

/// No signal file says when a reader has all it wants: it is when he asks no more.
void fetch_for_reader(const Job& job) {
    const auto is_there = [&] {
        const auto asked = job.spool.last_asked();
        return asked && asked->ago < kReaderPause && !job.deadline.passed() &&
               !job.spool.must_clear();
    };
    for (std::string tried; is_there(); std::this_thread::sleep_for(kReaderPoll)) {
        const auto asked = job.spool.last_asked();
        // Once for each: beyond the end of the archive there would be no end of trying.
        if (!asked || asked->segment == tried || !job.spool.is_low(asked->segment)) continue;
        tried = asked->segment;
        job.spool.clean(tried);  // of one that goes on elsewhere
        ops::archive::fetch_ahead(job.settings, job.spool, tried, job.threads, is_there);
    }
    job.spool.clean("");
}

void fetch(const config::Config& config, const Spool& spool, const std::string& segment,
           bool recovery) {
    // With connections of its own: those of the parent are the parent's.
    auto settings = archive_get_settings(config);
    if (!settings) return;
    settings->ahead = true;
    spool.clean(segment);
    const Job job{*settings, spool, thread_count(config), Deadline(kLifetime)};
    if (recovery) return fetch_for_recovery(job, segment);
    fetch_for_reader(job);
}

[[noreturn]] void run_fetcher(const config::Config& config, const Spool& spool,
                              const std::string& segment, bool recovery, int lock) noexcept {
    if (!detach(lock)) _exit(1);
    enter_guarded_worker();
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

}  // namespace

Prefetch::Prefetch(Context& context, std::string name)
    : context_(context),
      name_(std::move(name)),
      recovery_(in_recovery(context.config.get_string("pg1-path"))) {
    const config::Config& config = context.config;
    const std::string pg_path = config.get_string("pg1-path");
    const auto control = pgdata::read_control_file(pg_path);
    if (!control) return;
    auto spool = Spool::of({config.get_string("spool-path"), config.stanza(), pg_path}, *control,
                           config.get_size("archive-get-queue-max"));
    if (spool && spool->enabled()) spool_ = std::move(*spool);
}

bool Prefetch::take(const std::string& destination) const {
    return spool_ && pgdata::is_wal_segment(name_) &&
           spool_->take(name_, destination, context_.cancel);
}

bool Prefetch::wanted() const {
    if (recovery_) return true;
    const auto before = spool_->last_asked();
    if (!spool_->note_asked(name_) || !before || before->ago > kReaderPause) return false;
    return spool_->is_next(before->segment, name_);
}

void Prefetch::go_on() const {
    if (!spool_ || !pgdata::is_wal_segment(name_) || !wanted() || !spool_->is_low(name_)) return;
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
