#include "ops/archive/lane.h"

#include <algorithm>
#include <exception>
#include <new>

#include "chronos/base/log.h"

namespace chronos::ops::archive {
namespace {

PushSettings of_one(PushSettings settings, const repo::Repository& repository) {
    settings.repositories = {repository};
    return settings;
}

/// The only one goes without what all go without.
DropSettings of_one(DropSettings drop, const PushSettings& settings,
                    const repo::Repository& repository) {
    drop.repo_key = settings.repositories.size() == 1 ? 0 : repository.key;
    return drop;
}

}  // namespace

Lane::Lane(const PushSettings& settings, const DropSettings& drop,
           const repo::Repository& repository, const AheadSettings& ahead, Answer answer)
    : key_(repository.key),
      alone_(settings.repositories.size() == 1),
      answer_(std::move(answer)),
      pusher_(of_one(settings, repository)),
      dropped_(of_one(drop, settings, repository)),
      queue_(ahead.wal_path, ahead.threads) {
    for (std::size_t i = 0; i < std::max<std::size_t>(ahead.threads, 1); ++i)
        threads_.emplace_back([this] { work(); });
}

void Lane::stop() {
    queue_.stop();
    threads_.clear();
}

void Lane::ask(const std::string& name) {
    if (queue_.ask(name)) answer_(*this, name, {});
}

void Lane::work() {
    while (const std::optional<PushQueue::Item> item = queue_.next()) {
        Result<> outcome;
        try {
            outcome = push(*item);
        } catch (const std::bad_alloc&) {
            outcome = Error(ErrorKind::memory, "out of memory");
        } catch (const std::exception& exception) {
            outcome = Error(ErrorKind::internal, exception.what());
        }
        if (queue_.complete(*item, outcome)) answer_(*this, item->name, outcome);
    }
}

Result<> Lane::push(const PushQueue::Item& item) {
    Result<> outcome = pusher_.push(item.name, item.path);
    // Of the only one: when the archiver has its answer, by the service.
    if (outcome && !alone_) dropped_.report({&pusher_});
    failing_ = !outcome;
    tell(outcome);
    return outcome;
}

/// That one of several is away is said once, and once that it is back.
void Lane::tell(const Result<>& outcome) {
    if (alone_ || (!outcome && !outcome.error().transient())) return;
    if (away_.exchange(!outcome) == !outcome) return;
    const std::string repo = "repo" + std::to_string(key_);
    if (outcome)
        log_warn(repo + " can be reached again");
    else
        log_warn(repo + " is away, the other repositories go on: " + outcome.error().message());
}

}  // namespace chronos::ops::archive
