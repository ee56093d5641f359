// Idea: at the end of a backup one large file is left, and all threads but one have nothing to do.
// Blocks of it are independent of one another, so its owner offers each (a Task) and goes on
// reading; threads without work of their own (help()) take what was offered.
//
// A task goes waiting -> running -> done, each step once and under mutex_; only a waiting one is in
// `waiting_`. Whoever takes it out of there runs it, without the mutex: a helper, or the owner
// itself, in finish() when it needs the result and nobody has begun, or in offer() when nobody is
// free. So an owner never waits for work that nobody does, and needs no helper to come to an end.
//
// Tasks own what they need (shared_ptr, their content by value): the owner may fail and be gone
// while a helper still compresses.
//
// Not every idle thread helps. Over a distant link there are 64 threads and two processors: all of
// them helping meant 64 wake-ups for each super block, a third of the processor's time. Only
// `computing_` may help (help() returns at once to the others), and offer() leaves a task to a
// helper only where a processor is free of owners: else it would compute instead of an owner that
// then waits.
//
// window() bounds memory: two tasks for each thread there is, shared by the owners.
#include "ops/backup/work_share.h"

#include <algorithm>
#include <cassert>

#include "chronos/io/cpu_tokens.h"

namespace chronos::ops::backup {

WorkShare::Owner::Owner(WorkShare& share) : share_(share) {
    const std::lock_guard lock(share_.mutex_);
    ++share_.owners_;
}

WorkShare::Owner::~Owner() {
    {
        const std::lock_guard lock(share_.mutex_);
        if (--share_.owners_ > 0) return;
    }
    share_.offered_.notify_all();
}

void WorkShare::run(Task& task, std::unique_lock<std::mutex>& lock) {
    assert(task.state_ == Task::State::waiting);
    task.state_ = Task::State::running;
    lock.unlock();
    task.run();
    lock.lock();
    task.state_ = Task::State::done;
    task.done_.notify_all();
}

// A thread that waits lets another compute. It comes back to its turn without the lock, for whoever
// computes may need that. By then the condition may have ceased to hold.
template <class Condition>
void WorkShare::wait(std::condition_variable& changed, std::unique_lock<std::mutex>& lock,
                     Condition condition) {
    if (condition()) return;
    lock.unlock();
    {
        const io::WaitScope waiting;
        std::unique_lock inner(mutex_);
        changed.wait(inner, condition);
    }
    lock.lock();
}

void WorkShare::offer(const std::shared_ptr<Task>& task) {
    std::unique_lock lock(mutex_);
    const std::size_t free = computing_ > owners_ ? computing_ - owners_ : 0;
    if (std::min(idle_, free) <= waiting_.size()) return run(*task, lock);
    waiting_.push_back(task);
    offered_.notify_one();
}

bool WorkShare::done(const Task& task) const {
    const std::lock_guard lock(mutex_);
    return task.state_ == Task::State::done;
}

void WorkShare::finish(const std::shared_ptr<Task>& task) {
    std::unique_lock lock(mutex_);
    if (task->state_ == Task::State::waiting) {
        std::erase(waiting_, task);
        return run(*task, lock);
    }
    wait(task->done_, lock, [&] { return task->state_ == Task::State::done; });
}

std::size_t WorkShare::window() const {
    const std::lock_guard lock(mutex_);
    assert(idle_ <= helpers_);
    return 2 + 2 * (helpers_ / std::max<std::size_t>(1, owners_));
}

void WorkShare::help() {
    std::unique_lock lock(mutex_);
    if (helpers_ >= computing_) return;
    ++helpers_;
    for (;;) {
        ++idle_;
        wait(offered_, lock, [&] { return !waiting_.empty() || owners_ == 0; });
        --idle_;
        if (waiting_.empty() && owners_ == 0) break;
        if (waiting_.empty()) continue;
        const std::shared_ptr<Task> task = std::move(waiting_.front());
        waiting_.pop_front();
        run(*task, lock);
    }
    --helpers_;
}

}  // namespace chronos::ops::backup
