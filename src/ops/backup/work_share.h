#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>

namespace chronos::ops::backup {

/// Lets threads that have no file left to copy do pieces of what others have: so the last large
/// file of a cluster, or its only one, uses every thread. Any thread.
class WorkShare {
public:
    /// No more than `computing` threads have a processor, however many there are.
    explicit WorkShare(std::size_t computing) : computing_(computing) {}

    /// A piece of work that needs nothing of the thread that offers it: that one may fail, and be
    /// gone, while another runs it.
    class Task {
    public:
        virtual ~Task() = default;

    private:
        friend class WorkShare;
        virtual void run() noexcept = 0;
        enum class State { waiting, running, done };
        State state_ = State::waiting;  ///< under the mutex of the share
        std::condition_variable done_;
    };

    /// Says that the thread has work of its own, while it lives.
    class Owner {
    public:
        explicit Owner(WorkShare& share);
        ~Owner();
        Owner(const Owner&) = delete;
        Owner& operator=(const Owner&) = delete;

    private:
        WorkShare& share_;
    };

    /// Leaves the task to an idle thread; if there is none, or it would compute instead of a thread
    /// that has work of its own, runs it and returns when it is done.
    void offer(const std::shared_ptr<Task>& task);
    bool done(const Task& task) const;
    /// Returns when the task is done; runs it if nobody has begun to.
    void finish(const std::shared_ptr<Task>& task);
    /// How many tasks an owner should have under way at most: in all two for each thread, however
    /// many there are.
    std::size_t window() const;
    /// Runs what others offer until no thread has work of its own. Returns at once where enough
    /// threads help.
    void help();

private:
    void run(Task& task, std::unique_lock<std::mutex>& lock);
    template <class Condition>
    void wait(std::condition_variable& changed, std::unique_lock<std::mutex>& lock,
              Condition condition);

    const std::size_t computing_;
    mutable std::mutex mutex_;
    std::condition_variable offered_;  ///< a task, or no thread has work of its own any more
    std::deque<std::shared_ptr<Task>> waiting_;
    std::size_t owners_ = 0;
    std::size_t helpers_ = 0;
    std::size_t idle_ = 0;
};

}  // namespace chronos::ops::backup
