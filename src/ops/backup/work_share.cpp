#include "ops/backup/work_share.h"

#include <algorithm>

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
