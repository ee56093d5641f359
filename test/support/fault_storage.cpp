#include "fault_storage.h"

#include <fnmatch.h>

namespace chronos::test {

using storage::Entry;
using storage::ObjectName;
using storage::Range;
using storage::WriteMode;

namespace {

/// nullptr for an operation that changes nothing.
const char* change_name(Operation operation) {
    switch (operation) {
        case Operation::create: return "create";
        case Operation::finish: return "finish";
        case Operation::remove: return "remove";
        case Operation::remove_tree: return "remove_tree";
        case Operation::make_path: return "make_path";
        case Operation::make_link: return "make_link";
        case Operation::sync_tree: return "sync_tree";
        default: return nullptr;
    }
}

class FaultSource final : public io::Source {
public:
    FaultSource(FaultStorage& owner, std::string name, std::unique_ptr<io::Source> next)
        : owner_(owner), name_(std::move(name)), next_(std::move(next)) {}

    Result<std::size_t> read(io::MutableBytes out) override {
        if (ended_) return std::size_t{0};
        if (const auto fault = owner_.strike(Operation::read, name_)) {
            if (!fault->short_read) return fault->error;
            ended_ = true;
            return std::size_t{0};
        }
        return next_->read(out);
    }

private:
    FaultStorage& owner_;
    std::string name_;
    std::unique_ptr<io::Source> next_;
    bool ended_ = false;
};

class FaultSink final : public io::Sink {
public:
    FaultSink(FaultStorage& owner, std::string name, std::unique_ptr<io::Sink> next)
        : owner_(owner), name_(std::move(name)), next_(std::move(next)) {}

    Result<> write(io::Bytes in) override {
        if (auto fault = owner_.strike(Operation::write, name_)) return std::move(fault->error);
        return next_->write(in);
    }
    Result<> finish() override {
        if (auto fault = owner_.strike(Operation::finish, name_)) return std::move(fault->error);
        return next_->finish();
    }

private:
    FaultStorage& owner_;
    std::string name_;
    std::unique_ptr<io::Sink> next_;
};

}  // namespace

void FaultStorage::add(Fault fault) {
    const std::lock_guard lock(mutex_);
    faults_.push_back({std::move(fault)});
}

std::vector<std::string> FaultStorage::changes() const {
    const std::lock_guard lock(mutex_);
    return changes_;
}

std::optional<Fault> FaultStorage::strike(Operation operation, const std::string& name) {
    if (watch) watch(operation, name);
    const std::lock_guard lock(mutex_);
    std::optional<Fault> struck;
    for (Armed& armed : faults_) {
        const Fault& fault = armed.fault;
        if (fault.operation != operation || ::fnmatch(fault.pattern.c_str(), name.c_str(), 0) != 0)
            continue;
        ++armed.seen;
        const bool due =
            armed.seen >= fault.first_call &&
            (fault.calls == Fault::kEver || armed.seen - fault.first_call < fault.calls);
        if (due && !struck) struck = fault;
    }
    const char* const change = change_name(operation);
    if (change != nullptr && !struck) changes_.push_back(std::string(change) + " " + name);
    return struck;
}

Result<> FaultStorage::check(Operation operation, const std::string& name) {
    if (auto fault = strike(operation, name)) return std::move(fault->error);
    return {};
}

Result<std::unique_ptr<io::Source>> FaultStorage::open(const ObjectName& name, Range range) {
    CHRONOS_TRY(check(Operation::open, name));
    auto source = CHRONOS_TRY(next_.open(name, range));
    return std::make_unique<FaultSource>(*this, name, std::move(source));
}

Result<std::unique_ptr<io::Sink>> FaultStorage::create(const ObjectName& name, WriteMode mode) {
    CHRONOS_TRY(check(Operation::create, name));
    auto sink = CHRONOS_TRY(next_.create(name, mode));
    return std::make_unique<FaultSink>(*this, name, std::move(sink));
}

Result<std::optional<Entry>> FaultStorage::info(const ObjectName& name) {
    CHRONOS_TRY(check(Operation::info, name));
    return next_.info(name);
}

Result<std::vector<Entry>> FaultStorage::list(const ObjectName& directory,
                                              const std::string& name_prefix) {
    CHRONOS_TRY(check(Operation::list, directory));
    return next_.list(directory, name_prefix);
}

Result<std::vector<Entry>> FaultStorage::list_tree(const ObjectName& directory) {
    CHRONOS_TRY(check(Operation::list_tree, directory));
    return next_.list_tree(directory);
}

Result<> FaultStorage::remove(const ObjectName& name) {
    CHRONOS_TRY(check(Operation::remove, name));
    return next_.remove(name);
}

Result<> FaultStorage::remove_tree(const ObjectName& directory) {
    CHRONOS_TRY(check(Operation::remove_tree, directory));
    return next_.remove_tree(directory);
}

Result<> FaultStorage::make_path(const ObjectName& directory) {
    CHRONOS_TRY(check(Operation::make_path, directory));
    return next_.make_path(directory);
}

Result<> FaultStorage::make_link(const ObjectName& name, const std::string& destination) {
    CHRONOS_TRY(check(Operation::make_link, name));
    return next_.make_link(name, destination);
}

Result<> FaultStorage::sync_tree(const ObjectName& directory) {
    CHRONOS_TRY(check(Operation::sync_tree, directory));
    return next_.sync_tree(directory);
}

}  // namespace chronos::test
