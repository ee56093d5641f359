#pragma once

#include <memory>
#include <string>
#include <utility>

#include "chronos/storage/storage.h"

namespace chronos::storage {

/// Passes every call on to another storage: what stands in front of one overrides the calls that it
/// is about. Threads as `next` has it.
class ForwardingStorage : public Storage {
public:
    /// `next` must outlive it.
    explicit ForwardingStorage(Storage& next) : next_(next) {}
    explicit ForwardingStorage(std::shared_ptr<Storage> next)
        : owned_(std::move(next)), next_(*owned_) {}

    Features features() const override { return next_.features(); }
    std::string describe(const ObjectName& name) const override { return next_.describe(name); }
    Result<std::unique_ptr<io::Source>> open(const ObjectName& name, Range range) override {
        return next_.open(name, range);
    }
    Result<std::unique_ptr<io::Sink>> create(const ObjectName& name, WriteMode mode) override {
        return next_.create(name, mode);
    }
    Result<std::optional<Entry>> info(const ObjectName& name) override { return next_.info(name); }
    Result<std::vector<Entry>> list(const ObjectName& directory,
                                    const std::string& name_prefix) override {
        return next_.list(directory, name_prefix);
    }
    Result<std::vector<Entry>> list_tree(const ObjectName& directory) override {
        return next_.list_tree(directory);
    }
    Result<> remove(const ObjectName& name) override { return next_.remove(name); }
    Result<> remove_tree(const ObjectName& directory) override {
        return next_.remove_tree(directory);
    }
    Result<> make_path(const ObjectName& directory) override { return next_.make_path(directory); }
    Result<> make_link(const ObjectName& name, const std::string& destination) override {
        return next_.make_link(name, destination);
    }
    Result<> sync_tree(const ObjectName& directory) override { return next_.sync_tree(directory); }
    MultipartUploads* uploads() override { return next_.uploads(); }
    void ask_ahead(std::function<void()> question) override {
        next_.ask_ahead(std::move(question));
    }
    void read_ahead(const ObjectName& name) override { next_.read_ahead(name); }

private:
    std::shared_ptr<Storage> owned_;

protected:
    Storage& next_;
};

/// Through which things are only read: a write is an error of kind internal.
class ReadOnlyStorage : public ForwardingStorage {
public:
    using ForwardingStorage::ForwardingStorage;

    Result<std::unique_ptr<io::Sink>> create(const ObjectName& name, WriteMode) override {
        return refuse(name);
    }
    Result<> remove(const ObjectName& name) override { return refuse(name); }
    Result<> remove_tree(const ObjectName& directory) override { return refuse(directory); }
    Result<> make_path(const ObjectName& directory) override { return refuse(directory); }
    Result<> make_link(const ObjectName& name, const std::string&) override { return refuse(name); }
    Result<> sync_tree(const ObjectName& directory) override { return refuse(directory); }
    MultipartUploads* uploads() override { return nullptr; }

private:
    Error refuse(const ObjectName& name) const {
        return {ErrorKind::internal, "a write of " + describe(name) + ", which is only read here"};
    }
};

/// A piece of one object is at hand already, in memory: reads inside it cost no request.
class HeldRegion : public ReadOnlyStorage {
public:
    /// `content` stays the caller's and must outlive it.
    HeldRegion(Storage& next, ObjectName object, std::uint64_t offset_bytes, io::Bytes content)
        : ReadOnlyStorage(next),
          object_(std::move(object)),
          offset_(offset_bytes),
          content_(content) {}
    HeldRegion(std::shared_ptr<Storage> next, ObjectName object, std::uint64_t offset_bytes,
               std::string content)
        : ReadOnlyStorage(std::move(next)),
          object_(std::move(object)),
          offset_(offset_bytes),
          owned_content_(std::move(content)),
          content_(io::bytes(owned_content_)) {}

    Result<std::unique_ptr<io::Source>> open(const ObjectName& name, Range range) override {
        const bool held = name == object_ && range.size_bytes && range.offset_bytes >= offset_ &&
                          range.offset_bytes - offset_ <= content_.size() &&
                          *range.size_bytes <= content_.size() - (range.offset_bytes - offset_);
        if (!held) return next_.open(name, range);
        return std::make_unique<io::MemorySource>(
            content_.subspan(range.offset_bytes - offset_, *range.size_bytes));
    }

private:
    ObjectName object_;
    std::uint64_t offset_;
    std::string owned_content_;
    io::Bytes content_;
};

}  // namespace chronos::storage
