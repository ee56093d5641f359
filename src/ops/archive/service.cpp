// Idea: a segment is acknowledged when every repository has it, and one that is away must not keep
// the others from theirs. So each repository has a Lane, with its own queue, threads and record of
// what it goes without; and here is only what is about all of them: the questions that are open,
// and when one may be answered.
//
//     archiver -> ask(name) -> Lane 1 ... Lane n -> take() each -> the last one: reply()
//
// A Question has the repositories that have not answered. Their answers come from any thread and in
// any order; the one that empties it replies, with the errors of all. Asked again, which the
// archiver does after a failure, a question begins anew; of two answers of one repository the first
// counts.
//
// archive-push-queue-max is decided here, before the question: what has been recorded as dropped in
// a lane is not open in the question, so that a repository goes without a segment only after its
// record of that is on disk. Of several repositories only those that are behind go without.
#include "chronos/ops/archive/service.h"

#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <map>
#include <mutex>
#include <set>

#include "chronos/base/clock.h"
#include "chronos/base/log.h"
#include "ops/archive/compressed.h"
#include "ops/archive/lane.h"

namespace chronos::ops::archive {
namespace {

/// A repository that works has a file by then, unless it cannot keep up.
constexpr auto kLong = std::chrono::seconds(30);

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
    Impl(PushSettings settings, const DropSettings& drop, const AheadSettings& ahead, Answer answer)
        : answer_(std::move(answer)), wal_path_(ahead.wal_path), dropped_by_all_(drop) {
        const std::size_t count = settings.repositories.size();
        if (count > 1)
            settings.compressed =
                std::make_shared<CompressedSegments>(count, settings.process_max + 1);
        for (const repo::Repository& repository : settings.repositories)
            lanes_.emplace_back(settings, drop, repository, ahead,
                                [this](const Lane& lane, const std::string& name,
                                       const Result<>& outcome) { take(lane, name, outcome); });
        for (Lane& lane : lanes_) pushers_.push_back(&lane.pusher());
    }

    /// The threads end before what they use does.
    ~Impl() {
        for (Lane& lane : lanes_) lane.stop();
    }

    void ask(const std::string& name);

private:
    std::set<unsigned> drop(const std::string& name);
    std::vector<Lane*> behind(const std::string& name);
    bool waits_for_long(const std::string& name) const;
    void take(const Lane& lane, const std::string& name, const Result<>& outcome);
    void reply(const std::string& name, const Result<>& outcome);

    const Answer answer_;
    const std::string wal_path_;
    const std::chrono::steady_clock::time_point started_at_ = std::chrono::steady_clock::now();
    std::mutex answer_mutex_;
    std::mutex mutex_;
    std::map<std::string, Question> questions_;
    std::set<std::string> dropped_;        ///< names that are not acknowledged yet
    std::deque<Lane> lanes_;               // a deque: they cannot be moved
    std::vector<ArchivePusher*> pushers_;  ///< of the lanes
    /// What all repositories go without: of the only one, or by the command archive-push.
    DroppedWal dropped_by_all_;
};

void PushService::Impl::ask(const std::string& name) {
    const std::set<unsigned> without = drop(name);
    std::set<unsigned> open;
    for (const Lane& lane : lanes_)
        if (!without.contains(lane.key())) open.insert(lane.key());
    {
        const std::lock_guard lock(mutex_);
        Question& question = questions_[name];
        question.errors.clear();
        question.open = open;
        if (open.empty()) questions_.erase(name);
    }
    for (Lane& lane : lanes_) {
        if (open.contains(lane.key()))
            lane.ask(name);
        else
            lane.withdraw(name);
    }
    if (open.empty()) reply(name, {});
}

/// The repositories that go without the file from now on: of several those that are behind, so
/// that the ones that keep up lose nothing by one that does not.
std::set<unsigned> PushService::Impl::drop(const std::string& name) {
    const std::string path = wal_path_ + "/" + name;
    const Result<bool> exceeded = dropped_by_all_.queue_exceeded(path);
    if (!exceeded || !*exceeded) return {};
    std::set<unsigned> without;
    for (Lane* lane : behind(name)) {
        const Result<> recorded = lane->drop(name, path);
        if (recorded)
            without.insert(lane->key());
        else
            log_warn(
                "archive-push-queue-max is exceeded, but '" + name +
                "' is not dropped because that cannot be recorded: " + recorded.error().message());
    }
    if (without.empty()) return without;
    const std::lock_guard lock(mutex_);
    dropped_.insert(name);
    return without;
}

/// The repositories that are in the way of the file: they do not have it and, if there are several,
/// failed last or did not get it in 30 s.
std::vector<Lane*> PushService::Impl::behind(const std::string& name) {
    std::vector<Lane*> found;
    for (Lane& lane : lanes_)
        if (!lane.has_stored(name)) found.push_back(&lane);
    if (lanes_.size() > 1 && !waits_for_long(name))
        std::erase_if(found, [](const Lane* lane) { return !lane->failing(); });
    return found;
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

void PushService::Impl::take(const Lane& lane, const std::string& name, const Result<>& outcome) {
    Question question;
    {
        const std::lock_guard lock(mutex_);
        const auto found = questions_.find(name);
        // A second answer, to a question that was asked twice.
        if (found == questions_.end() || found->second.open.erase(lane.key()) == 0) return;
        if (!outcome) found->second.errors.push_back(outcome.error());
        if (!found->second.open.empty()) return;
        question = std::move(found->second);
        questions_.erase(found);
    }
    reply(name, question.errors.empty() ? Result<>() : Result<>(join(question.errors)));
}

void PushService::Impl::reply(const std::string& name, const Result<>& outcome) {
    const std::lock_guard answering(answer_mutex_);
    if (!outcome) {
        answer_(name, outcome.error());
        return;
    }
    bool dropped = false;
    {
        const std::lock_guard lock(mutex_);
        dropped = dropped_.erase(name) > 0;
    }
    answer_(name, dropped ? Acknowledged::dropped : Acknowledged::stored);
    if (!dropped) dropped_by_all_.report(pushers_);
}

PushService::PushService(PushSettings settings, const DropSettings& drop,
                         const AheadSettings& ahead, Answer answer)
    : impl_(std::make_unique<Impl>(std::move(settings), drop, ahead, std::move(answer))) {}
PushService::~PushService() = default;

void PushService::ask(const std::string& name) {
    impl_->ask(name);
}

}  // namespace chronos::ops::archive
