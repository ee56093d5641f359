#pragma once

#include "chronos/storage/storage.h"

namespace chronos::ops::verify {

/// A view of a storage through which things are only read: implementations say what open() does.
class ReadOnlyStorage : public storage::Storage {
public:
    explicit ReadOnlyStorage(storage::Storage& next) : next_(next) {}

    storage::Features features() const override { return next_.features(); }
    std::string describe(const storage::ObjectName& name) const override {
        return next_.describe(name);
    }
    Result<std::optional<storage::Entry>> info(const storage::ObjectName& name) override {
        return next_.info(name);
    }
    Result<std::vector<storage::Entry>> list(const storage::ObjectName& directory,
                                             const std::string& name_prefix) override {
        return next_.list(directory, name_prefix);
    }
    Result<std::vector<storage::Entry>> list_tree(const storage::ObjectName& directory) override {
        return next_.list_tree(directory);
    }
    Result<std::unique_ptr<io::Sink>> create(const storage::ObjectName&,
                                             storage::WriteMode) override {
        return refused();
    }
    Result<> remove(const storage::ObjectName&) override { return refused(); }
    Result<> remove_tree(const storage::ObjectName&) override { return refused(); }
    Result<> make_path(const storage::ObjectName&) override { return refused(); }
    Result<> make_link(const storage::ObjectName&, const std::string&) override {
        return refused();
    }
    Result<> sync_tree(const storage::ObjectName&) override { return refused(); }

protected:
    storage::Storage& next_;

private:
    static Error refused() { return Error(ErrorKind::internal, "a write while verifying"); }
};

}  // namespace chronos::ops::verify
