#pragma once

#include <memory>
#include <string>
#include <utility>

#include "chronos/storage/storage.h"

namespace chronos::ops {

/// A storage of which a piece of one object is at hand already, in memory: reads inside it cost no
/// request. For reading only. One thread.
class HeldRegion : public storage::Storage {
public:
    HeldRegion(std::shared_ptr<storage::Storage> next, storage::ObjectName object,
               std::uint64_t offset_bytes, std::string content)
        : next_(std::move(next)),
          object_(std::move(object)),
          offset_(offset_bytes),
          content_(std::move(content)) {}

    Result<std::unique_ptr<io::Source>> open(const storage::ObjectName& name,
                                             storage::Range range) override {
        const bool held = name == object_ && range.size_bytes && range.offset_bytes >= offset_ &&
                          range.offset_bytes - offset_ <= content_.size() &&
                          *range.size_bytes <= content_.size() - (range.offset_bytes - offset_);
        if (!held) return next_->open(name, range);
        const std::string_view piece =
            std::string_view(content_).substr(range.offset_bytes - offset_, *range.size_bytes);
        return std::make_unique<io::MemorySource>(piece);
    }

    storage::Features features() const override { return next_->features(); }
    std::string describe(const storage::ObjectName& name) const override {
        return next_->describe(name);
    }
    Result<std::unique_ptr<io::Sink>> create(const storage::ObjectName&,
                                             storage::WriteMode) override {
        return refuse();
    }
    Result<std::optional<storage::Entry>> info(const storage::ObjectName& name) override {
        return next_->info(name);
    }
    Result<std::vector<storage::Entry>> list(const storage::ObjectName& directory,
                                             const std::string& prefix) override {
        return next_->list(directory, prefix);
    }
    Result<std::vector<storage::Entry>> list_tree(const storage::ObjectName& directory) override {
        return next_->list_tree(directory);
    }
    Result<> remove(const storage::ObjectName&) override { return refuse(); }
    Result<> remove_tree(const storage::ObjectName&) override { return refuse(); }
    Result<> make_path(const storage::ObjectName&) override { return refuse(); }
    Result<> make_link(const storage::ObjectName&, const std::string&) override { return refuse(); }
    Result<> sync_tree(const storage::ObjectName&) override { return refuse(); }

private:
    static Error refuse() { return {ErrorKind::internal, "a held region is for reading only"}; }

    std::shared_ptr<storage::Storage> next_;
    storage::ObjectName object_;
    std::uint64_t offset_;
    std::string content_;
};

}  // namespace chronos::ops
