#include "memory_storage.h"

#include <algorithm>

namespace chronos::test {

using storage::Entry;
using storage::EntryType;
using storage::ObjectName;
using storage::Range;
using storage::WriteMode;

namespace {

struct Object {
    std::string content;
    UnixTime modified = 0;
    bool is_link = false;  ///< `content` is the destination
};
using Objects = std::map<std::string, Object>;

std::string directory_prefix(const ObjectName& directory) {
    return directory.empty() ? "" : directory + "/";
}

void erase_below(Objects& objects, const std::string& prefix) {
    std::erase_if(objects, [&](const auto& item) { return item.first.starts_with(prefix); });
}

Entry make_entry(std::string name, const Object& object) {
    Entry entry;
    entry.name = std::move(name);
    entry.type = object.is_link ? EntryType::link : EntryType::file;
    if (object.is_link)
        entry.link_destination = object.content;
    else
        entry.size = object.content.size();
    entry.modified = object.modified;
    return entry;
}

Entry make_path_entry(std::string name) {
    Entry entry;
    entry.name = std::move(name);
    entry.type = EntryType::path;
    return entry;
}

class OwningSource final : public io::Source {
public:
    OwningSource(std::string content, std::string description, Range range)
        : content_(std::move(content)), description_(std::move(description)), range_(range) {}

    Result<std::size_t> read(io::MutableBytes out) override {
        const std::uint64_t held =
            content_.size() - std::min<std::uint64_t>(range_.offset_bytes, content_.size());
        const bool beyond = !range_.size_bytes && range_.offset_bytes > content_.size();
        const std::uint64_t wanted = beyond ? 1 : range_.size_bytes.value_or(held);
        const std::size_t count = std::min({std::uint64_t{out.size()}, held, wanted});
        if (count == 0 && wanted > 0 && !out.empty())
            return Error(ErrorKind::file_read, "unable to read '" + description_ +
                                                   "': it ends before byte " +
                                                   std::to_string(range_.offset_bytes + wanted));
        std::ranges::copy(io::bytes(content_).subspan(content_.size() - held, count), out.begin());
        range_.offset_bytes += count;
        if (range_.size_bytes) *range_.size_bytes -= count;
        return count;
    }

private:
    std::string content_;
    std::string description_;
    Range range_;
};

}  // namespace

struct MemoryStorage::State {
    std::mutex mutex;
    Objects visible;
    Objects durable;
    int crashes = 0;  ///< sinks from before the last one have lost their object
};

namespace {

class MemoryObjectSink final : public io::Sink {
public:
    MemoryObjectSink(std::shared_ptr<MemoryStorage::State> state, ObjectName name, WriteMode mode)
        : state_(std::move(state)), name_(std::move(name)), mode_(mode) {
        const std::lock_guard lock(state_->mutex);
        crashes_ = state_->crashes;
        if (mode_ == WriteMode::plain) publish();
    }
    ~MemoryObjectSink() override {
        const std::lock_guard lock(state_->mutex);
        if (!finished_ && mode_ == WriteMode::plain && is_alive()) state_->visible.erase(name_);
    }
    Result<> write(io::Bytes in) override {
        const std::lock_guard lock(state_->mutex);
        content_.append(io::text(in));
        // The worst that a reader may see of a plain object: every part as soon as it is written.
        if (mode_ == WriteMode::plain && is_alive()) publish();
        return {};
    }
    Result<> finish() override {
        const std::lock_guard lock(state_->mutex);
        finished_ = true;
        if (!is_alive()) return {};
        if (mode_ == WriteMode::exclusive && state_->visible.contains(name_))
            return Error(ErrorKind::file_exists, "'" + name_ + "' is there already");
        publish();
        if (mode_ != WriteMode::plain) state_->durable[name_] = state_->visible[name_];
        return {};
    }

private:
    bool is_alive() const { return crashes_ == state_->crashes; }
    void publish() { state_->visible[name_] = Object{content_, unix_now()}; }

    std::shared_ptr<MemoryStorage::State> state_;
    ObjectName name_;
    WriteMode mode_;
    std::string content_;
    int crashes_ = 0;
    bool finished_ = false;
};

}  // namespace

MemoryStorage::MemoryStorage() : state_(std::make_shared<State>()) {}
MemoryStorage::~MemoryStorage() = default;

void MemoryStorage::crash() {
    const std::lock_guard lock(state_->mutex);
    state_->visible = state_->durable;
    ++state_->crashes;
}

std::string MemoryStorage::describe(const ObjectName& name) const {
    return "memory:/" + name;
}

Result<> MemoryStorage::check_name(const ObjectName& name) const {
    if (storage::is_object_name(name)) return {};
    return Error(ErrorKind::format, "invalid object name '" + name + "'");
}

Result<> MemoryStorage::check_directory(const ObjectName& name) const {
    return name.empty() ? Result<>{} : check_name(name);
}

Result<std::unique_ptr<io::Source>> MemoryStorage::open(const ObjectName& name, Range range) {
    CHRONOS_TRY(check_name(name));
    const std::lock_guard lock(state_->mutex);
    const auto found = state_->visible.find(name);
    if (found == state_->visible.end() || found->second.is_link)
        return Error(ErrorKind::not_found, "unable to open missing file '" + describe(name) + "'");
    return std::make_unique<OwningSource>(found->second.content, describe(name), range);
}

Result<std::unique_ptr<io::Sink>> MemoryStorage::create(const ObjectName& name, WriteMode mode) {
    CHRONOS_TRY(check_name(name));
    return std::make_unique<MemoryObjectSink>(state_, name, mode);
}

Result<std::optional<Entry>> MemoryStorage::info(const ObjectName& name) {
    CHRONOS_TRY(check_directory(name));
    const std::lock_guard lock(state_->mutex);
    const auto found = state_->visible.find(name);
    if (found != state_->visible.end()) return std::optional(make_entry(name, found->second));
    const std::string prefix = directory_prefix(name);
    const auto below = state_->visible.lower_bound(prefix);
    if (below != state_->visible.end() && below->first.starts_with(prefix))
        return std::optional(make_path_entry(name));
    return std::optional<Entry>{};
}

Result<std::vector<Entry>> MemoryStorage::list(const ObjectName& directory,
                                               const std::string& name_prefix) {
    CHRONOS_TRY(check_directory(directory));
    const std::string prefix = directory_prefix(directory);
    const std::lock_guard lock(state_->mutex);
    std::map<std::string, Entry> entries;
    for (const auto& [full_name, object] : state_->visible) {
        if (!full_name.starts_with(prefix + name_prefix)) continue;
        const std::string rest = full_name.substr(prefix.size());
        const std::size_t slash = rest.find('/');
        const std::string name = rest.substr(0, slash);
        entries.emplace(
            name, slash == std::string::npos ? make_entry(name, object) : make_path_entry(name));
    }
    std::vector<Entry> result;
    for (auto& [name, entry] : entries) result.push_back(std::move(entry));
    return result;
}

Result<std::vector<Entry>> MemoryStorage::list_tree(const ObjectName& directory) {
    CHRONOS_TRY(check_directory(directory));
    const std::string prefix = directory_prefix(directory);
    const std::lock_guard lock(state_->mutex);
    std::vector<Entry> result;
    for (const auto& [name, object] : state_->visible)
        if (name.starts_with(prefix) && !object.is_link)
            result.push_back(make_entry(name.substr(prefix.size()), object));
    return result;
}

Result<> MemoryStorage::remove(const ObjectName& name) {
    CHRONOS_TRY(check_name(name));
    const std::lock_guard lock(state_->mutex);
    state_->visible.erase(name);
    return {};
}

Result<> MemoryStorage::remove_tree(const ObjectName& directory) {
    CHRONOS_TRY(check_directory(directory));
    const std::lock_guard lock(state_->mutex);
    erase_below(state_->visible, directory_prefix(directory));
    return {};
}

Result<> MemoryStorage::make_path(const ObjectName& directory) {
    return check_directory(directory);
}

Result<> MemoryStorage::make_link(const ObjectName& name, const std::string& destination) {
    CHRONOS_TRY(check_name(name));
    const std::lock_guard lock(state_->mutex);
    state_->durable[name] = state_->visible[name] = Object{destination, unix_now(), true};
    return {};
}

Result<> MemoryStorage::sync_tree(const ObjectName& directory) {
    CHRONOS_TRY(check_directory(directory));
    const std::string prefix = directory_prefix(directory);
    const std::lock_guard lock(state_->mutex);
    erase_below(state_->durable, prefix);
    for (const auto& [name, object] : state_->visible)
        if (name.starts_with(prefix)) state_->durable[name] = object;
    return {};
}

}  // namespace chronos::test
