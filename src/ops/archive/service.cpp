#include "chronos/ops/archive/service.h"

#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <set>

#include "chronos/base/clock.h"
#include "chronos/base/log.h"
#include "ops/archive/compressed.h"

namespace chronos::ops::archive {
namespace {

/// A repository that works has a file by then, unless it cannot keep up.
constexpr auto kLong = std::chrono::seconds(30);

/// The way of all files into one repository.
struct PushLane {
    PushLane(const PushSettings& settings, const repo::Repository& repository)
        : key(repository.key), pusher(of_one(settings, repository)) {}

    static PushSettings of_one(PushSettings settings, const repo::Repository& repository) {
        settings.repositories = {repository};
        return settings;
    }

    const unsigned key;
    ArchivePusher pusher;
    bool away = false;     ///< has been said in the log
    bool failing = false;  ///< the last file could not be stored
    std::unique_ptr<PushAhead> ahead;
};

/// A file that was asked for.
struct Question {
    std::set<unsigned> open;  ///< repositories that have not answered
    std::vector<Error> errors;
};

/// What was wrong with each, under one heading where it is the same.
Error join(const std::vector<Error>& errors) {
    if (errors.size() == 1) return errors.front();
    std::string message = errors.front().message();
    const std::string heading = message.substr(0, message.find('\n'));
    bool transient = false;
    for (const Error& error : errors) {
        transient = transient || error.transient();
        if (&error == &errors.front()) continue;
        const bool same = error.message().starts_with(heading + "\n");
        message += same ? error.message().substr(heading.size()) : "\n" + error.message();
    }
    Error joined(errors.front().kind(), message);
    for (const Error& error : errors)
        if (!error.hint().empty()) joined = std::move(joined).with_hint(error.hint());
    return transient ? std::move(joined).as_transient() : joined;
}

}  // namespace

class PushService::Impl {
public:
    Impl(PushSettings settings, const AheadSettings& ahead, Answer answer, Reached reached)
        : answer_(std::move(answer)), reached_(std::move(reached)), wal_path_(ahead.wal_path) {
        const std::vector<repo::Repository> repositories = std::move(settings.repositories);
        if (repositories.size() > 1)
            settings.compressed =
                std::make_shared<CompressedSegments>(repositories.size(), settings.process_max + 1);
        for (const repo::Repository& repository : repositories)
            lanes_.emplace_back(settings, repository);
        for (PushLane& lane : lanes_)
            lane.ahead = std::make_unique<PushAhead>(
                ahead,
                [&](const std::string& name, const std::string& path) {
                    return push(lane, name, path);
                },
                [&](const std::string& name, const Result<>& outcome) {
                    take(lane, name, outcome);
                });
    }

    /// The threads end before what they use does.
    ~Impl() {
        for (PushLane& lane : lanes_) lane.ahead.reset();
    }

    void ask(const std::string& name, const std::set<unsigned>& without);
    std::set<unsigned> behind(const std::string& name);

private:
    bool waits_for_long(const std::string& name) const;
    Result<> push(PushLane& lane, const std::string& name, const std::string& path);
    void take(const PushLane& lane, const std::string& name, const Result<>& outcome);

    const Answer answer_;
    const Reached reached_;
    const std::string wal_path_;
    const std::chrono::steady_clock::time_point started_at_ = std::chrono::steady_clock::now();
    std::mutex answer_mutex_;
    std::mutex mutex_;
    std::map<std::string, Question> questions_;
    std::deque<PushLane> lanes_;  // a deque: they cannot be moved
};

void PushService::Impl::ask(const std::string& name, const std::set<unsigned>& without) {
    std::set<unsigned> open;
    for (const PushLane& lane : lanes_)
        if (!without.contains(lane.key)) open.insert(lane.key);
    {
        const std::lock_guard lock(mutex_);
        Question& question = questions_[name];
        question.errors.clear();
        question.open = open;
        if (open.empty()) questions_.erase(name);
    }
    for (PushLane& lane : lanes_) {
        if (open.contains(lane.key))
            lane.ahead->ask(name);
        else
            lane.ahead->withdraw(name);
    }
    if (!open.empty()) return;
    const std::lock_guard lock(answer_mutex_);
    answer_(name, {});
}

std::set<unsigned> PushService::Impl::behind(const std::string& name) {
    std::set<unsigned> keys;
    for (const PushLane& lane : lanes_)
        if (!lane.ahead->has_stored(name)) keys.insert(lane.key);
    if (lanes_.size() == 1 || waits_for_long(name)) return keys;
    const std::lock_guard lock(mutex_);
    for (const PushLane& lane : lanes_)
        if (!lane.failing) keys.erase(lane.key);
    return keys;
}

/// A new service does not know what the repositories have.
bool PushService::Impl::waits_for_long(const std::string& name) const {
    if (std::chrono::steady_clock::now() - started_at_ < kLong) return false;
    struct stat mark = {};
    const std::string path = wal_path_ + "/archive_status/" + name + ".ready";
    if (::stat(path.c_str(), &mark) != 0) return true;
    // One that is ahead was made before the clock was set back.
    const std::chrono::seconds age(unix_now() - mark.st_mtime);
    return age >= kLong || age < std::chrono::seconds(0);
}

Result<> PushService::Impl::push(PushLane& lane, const std::string& name, const std::string& path) {
    Result<> outcome = lane.pusher.push(name, path);
    if (outcome && reached_) reached_(lane.key);
    {
        const std::lock_guard lock(mutex_);
        lane.failing = !outcome;
        if (lanes_.size() == 1 || (!outcome && !outcome.error().transient())) return outcome;
        if (lane.away == !outcome) return outcome;
        lane.away = !outcome;
    }
    const std::string repo = "repo" + std::to_string(lane.key);
    if (outcome)
        log_warn(repo + " can be reached again");
    else
        log_warn(repo + " is away, the other repositories go on: " + outcome.error().message());
    return outcome;
}

void PushService::Impl::take(const PushLane& lane, const std::string& name,
                             const Result<>& outcome) {
    Question question;
    {
        const std::lock_guard lock(mutex_);
        const auto found = questions_.find(name);
        // A second answer, to a question that was asked twice.
        if (found == questions_.end() || found->second.open.erase(lane.key) == 0) return;
        if (!outcome) found->second.errors.push_back(outcome.error());
        if (!found->second.open.empty()) return;
        question = std::move(found->second);
        questions_.erase(found);
    }
    const std::lock_guard lock(answer_mutex_);
    answer_(name, question.errors.empty() ? Result<>() : Result<>(join(question.errors)));
}

PushService::PushService(PushSettings settings, const AheadSettings& ahead, Answer answer,
                         Reached reached)
    : impl_(std::make_unique<Impl>(std::move(settings), ahead, std::move(answer),
                                   std::move(reached))) {}
PushService::~PushService() = default;

void PushService::ask(const std::string& name, const std::set<unsigned>& without) {
    impl_->ask(name, without);
}

std::set<unsigned> PushService::behind(const std::string& name) const {
    return impl_->behind(name);
}

}  // namespace chronos::ops::archive
