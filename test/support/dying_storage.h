#pragma once

#include <atomic>
#include <functional>
#include <memory>

#include "chronos/storage/forwarding.h"

namespace chronos::test {

/// A process that is killed: after so many changes nothing gets through to `next` any more, and
/// every call fails. What a sink has not finished by then does not appear. Any thread.
class DyingStorage final : public storage::ForwardingStorage {
public:
    DyingStorage(std::shared_ptr<storage::Storage> next, unsigned changes_left)
        : ForwardingStorage(std::move(next)), left_(changes_left) {}

    bool dead() const { return dead_; }
    /// Called before each change that gets through: what somebody else does meanwhile.
    std::function<void()> meanwhile;

    Result<std::unique_ptr<io::Source>> open(const storage::ObjectName& name,
                                             storage::Range range) override {
        CHRONOS_TRY(alive());
        return next_.open(name, range);
    }
    Result<std::unique_ptr<io::Sink>> create(const storage::ObjectName& name,
                                             storage::WriteMode mode) override {
        CHRONOS_TRY(alive());
        auto sink = CHRONOS_TRY(next_.create(name, mode));
        return std::unique_ptr<io::Sink>(std::make_unique<Sink>(*this, std::move(sink)));
    }
    Result<std::optional<storage::Entry>> info(const storage::ObjectName& name) override {
        CHRONOS_TRY(alive());
        return next_.info(name);
    }
    Result<std::vector<storage::Entry>> list(const storage::ObjectName& directory,
                                             const std::string& name_prefix) override {
        CHRONOS_TRY(alive());
        return next_.list(directory, name_prefix);
    }
    Result<std::vector<storage::Entry>> list_tree(const storage::ObjectName& directory) override {
        CHRONOS_TRY(alive());
        return next_.list_tree(directory);
    }
    Result<> remove(const storage::ObjectName& name) override {
        CHRONOS_TRY(change());
        return next_.remove(name);
    }
    Result<> remove_tree(const storage::ObjectName& directory) override {
        CHRONOS_TRY(change());
        return next_.remove_tree(directory);
    }
    Result<> make_path(const storage::ObjectName& directory) override {
        CHRONOS_TRY(change());
        return next_.make_path(directory);
    }
    Result<> make_link(const storage::ObjectName& name, const std::string& destination) override {
        CHRONOS_TRY(change());
        return next_.make_link(name, destination);
    }
    Result<> sync_tree(const storage::ObjectName& directory) override {
        CHRONOS_TRY(change());
        return next_.sync_tree(directory);
    }

private:
    class Sink final : public io::Sink {
    public:
        Sink(DyingStorage& owner, std::unique_ptr<io::Sink> next)
            : owner_(owner), next_(std::move(next)) {}
        Result<> write(io::Bytes in) override {
            CHRONOS_TRY(owner_.alive());
            return next_->write(in);
        }
        Result<> finish() override {
            CHRONOS_TRY(owner_.change());
            return next_->finish();
        }

    private:
        DyingStorage& owner_;
        std::unique_ptr<io::Sink> next_;
    };

    Result<> alive() const {
        if (dead_) return Error(ErrorKind::runtime, "the process is dead");
        return {};
    }
    Result<> change() {
        if (left_ == 0) dead_ = true;
        CHRONOS_TRY(alive());
        --left_;
        if (meanwhile) meanwhile();
        return {};
    }

    std::atomic<unsigned> left_;
    std::atomic<bool> dead_{false};
};

}  // namespace chronos::test
