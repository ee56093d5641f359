#include "ops/verify/file_check.h"

#include <algorithm>
#include <cstring>

#include "chronos/crypto/hash.h"
#include "chronos/repo/stored_file.h"
#include "chronos/storage/forwarding.h"

namespace chronos::ops::verify {
namespace {

/// Computes the SHA-1 of the stored bytes of a file while others read them for its content: from
/// front to back, except that the block map, which lies behind the blocks, is read before them.
class StoredBytes final : public storage::ReadOnlyStorage {
public:
    StoredBytes(storage::Storage& next, repo::StoredLocation place)
        : ReadOnlyStorage(next), place_(std::move(place)) {}

    Result<std::unique_ptr<io::Source>> open(const storage::ObjectName& name,
                                             storage::Range range) override {
        auto source = CHRONOS_TRY(next_.open(name, range));
        if (name != place_.object) return source;
        if (range.offset_bytes == place_.range.offset_bytes + front_size_)
            return std::make_unique<Tap>(std::move(source),
                                         [this](io::Bytes bytes) { add_front(bytes); });
        if (range.size_bytes && range.offset_bytes + *range.size_bytes == end())
            return std::make_unique<Tap>(std::move(source),
                                         [this](io::Bytes bytes) { tail_ += io::text(bytes); });
        return source;
    }

    /// Reads again what was not read in order.
    Result<std::string> sha1() {
        const std::uint64_t size = front_size_ + tail_.size();
        if (front_size_ > 0 && (!place_.range.size_bytes || size == *place_.range.size_bytes)) {
            front_.update(io::bytes(tail_));
            return front_.hex();
        }
        auto source = CHRONOS_TRY(next_.open(place_.object, place_.range));
        io::NullSink nothing;
        crypto::Sha1Sink sink(nothing);
        CHRONOS_TRY(io::copy(*source, sink));
        return sink.hex();
    }

private:
    class Tap final : public io::Source {
    public:
        Tap(std::unique_ptr<io::Source> next, std::function<void(io::Bytes)> see)
            : next_(std::move(next)), see_(std::move(see)) {}
        Result<std::size_t> read(io::MutableBytes out) override {
            const std::size_t count = CHRONOS_TRY(next_->read(out));
            see_(out.first(count));
            return count;
        }

    private:
        std::unique_ptr<io::Source> next_;
        std::function<void(io::Bytes)> see_;
    };

    std::uint64_t end() const {
        return place_.range.offset_bytes + place_.range.size_bytes.value_or(0);
    }
    void add_front(io::Bytes bytes) {
        front_.update(bytes);
        front_size_ += bytes.size();
    }

    repo::StoredLocation place_;
    crypto::Sha1 front_;
    std::uint64_t front_size_ = 0;
    std::string tail_;
};

/// One check of one file.
class Check {
public:
    Check(const FileCheck& check, const repo::Repository& repository)
        : check_(check), repository_(repository), file_(check.file) {}

    Result<> run() {
        if (!check_.content && !file_.repo_checksum.empty()) return map_alone();
        return file_.block_incremental() ? blocks() : whole();
    }

private:
    Result<> map_alone() {
        if (!file_.block_incremental()) return {};
        return check_references(
            CHRONOS_TRY(repo::read_block_map(repository_, check_.stanza, check_.manifest, file_)));
    }

    Result<> whole() {
        io::NullSink nothing;
        crypto::Sha1Sink content(nothing);
        CHRONOS_TRY(
            repo::read_whole_file(repository_, check_.stanza, check_.manifest, file_, content));
        return compare(content.hex());
    }

    Result<> compare(const std::string& sha1) const {
        if (file_.checksum == sha1) return {};
        return Error(ErrorKind::checksum,
                     "the content has SHA-1 " + sha1 + ", in the manifest " + file_.checksum.str());
    }

    /// What this backup stores first, in one read. If that is all of the file, and in order, its
    /// SHA-1 comes with it.
    Result<> blocks() {
        const repo::BlockMap map =
            CHRONOS_TRY(repo::read_block_map(repository_, check_.stanza, check_.manifest, file_));
        CHRONOS_TRY(check_references(map));
        const std::vector<bool> own = own_blocks(map);
        crypto::Sha1 sha1;
        std::uint64_t in_order = 0;
        const auto receive = [&](std::uint64_t number, io::Bytes content) -> Result<> {
            if (number == in_order) {
                sha1.update(content);
                ++in_order;
            }
            return check_block(map, number, content);
        };
        if (std::ranges::find(own, true) != own.end())
            CHRONOS_TRY(repo::read_blocks(repository_, check_.stanza, check_.manifest, file_, map,
                                          own, receive));
        return in_order == map.size() ? compare(sha1.hex()) : rebuild(map);
    }

    Result<> check_references(const repo::BlockMap& map) const {
        if (check_.gone.empty()) return {};
        for (const repo::BlockMapItem& item : map) {
            const std::string& label = check_.manifest.references[item.reference];
            if (check_.gone.contains(label))
                return Error(ErrorKind::not_found,
                             "blocks of it lie in backup " + label + ", which is missing");
        }
        return {};
    }

    std::vector<bool> own_blocks(const repo::BlockMap& map) const {
        std::vector<bool> own(map.size());
        for (std::size_t i = 0; i < map.size(); ++i)
            own[i] = check_.manifest.references[map[i].reference] == check_.manifest.label;
        return own;
    }

    Result<> check_block(const repo::BlockMap& map, std::uint64_t number, io::Bytes content) const {
        const auto digest = crypto::xxh3_128(content);
        const auto& expected = map[number].checksum;
        const std::size_t size = std::min<std::size_t>(file_.block_checksum_size, digest.size());
        if (std::memcmp(digest.data(), expected.data(), size) == 0) return {};
        return Error(ErrorKind::checksum, "block " + std::to_string(number) + " (in backup " +
                                              check_.manifest.references[map[number].reference] +
                                              ") does not match its checksum in the block map");
    }

    /// Window by window, because blocks come in the order in which they are stored. The blocks of a
    /// super block are ascending, so few super blocks are read for two windows.
    Result<> rebuild(const repo::BlockMap& map) const {
        const std::uint64_t block_size = file_.block_size;
        const std::uint64_t count = std::max<std::uint64_t>(1, kRebuildWindow / block_size);
        crypto::Sha1 sha1;
        std::string window;
        for (std::uint64_t first = 0; first < map.size(); first += count) {
            const std::uint64_t last = std::min<std::uint64_t>(map.size(), first + count);
            std::vector<bool> wanted(map.size());
            std::fill(wanted.begin() + static_cast<std::ptrdiff_t>(first),
                      wanted.begin() + static_cast<std::ptrdiff_t>(last), true);
            window.resize(std::min(file_.size, last * block_size) - first * block_size);
            const auto receive = [&](std::uint64_t number, io::Bytes content) -> Result<> {
                std::memcpy(window.data() + (number - first) * block_size, content.data(),
                            content.size());
                return check_block(map, number, content);
            };
            CHRONOS_TRY(repo::read_blocks(repository_, check_.stanza, check_.manifest, file_, map,
                                          wanted, receive));
            sha1.update(io::bytes(window));
        }
        return compare(sha1.hex());
    }

    const FileCheck& check_;
    const repo::Repository& repository_;
    const repo::ManifestFile& file_;
};

}  // namespace

Result<std::optional<Damage>> as_damage(Error error) {
    if (!is_about_content(error)) return error;
    return std::optional<Damage>({problem_of(error), error.message()});
}

Result<std::optional<Damage>> check_file(const FileCheck& check) {
    if (check.file.repo_checksum.empty()) {
        Result<> checked = Check(check, check.repository).run();
        return checked ? std::optional<Damage>() : as_damage(std::move(checked).error());
    }
    const auto tap = std::make_shared<StoredBytes>(
        *check.repository.storage, repo::locate(check.stanza, check.manifest, check.file));
    repo::Repository repository = check.repository;
    repository.storage = tap;
    if (Result<> checked = Check(check, repository).run(); !checked)
        return as_damage(std::move(checked).error());
    auto sha1 = tap->sha1();
    if (!sha1) return as_damage(std::move(sha1).error());
    if (check.file.repo_checksum == *sha1) return std::optional<Damage>();
    return std::optional<Damage>({Problem::checksum, "the stored bytes have SHA-1 " + *sha1 +
                                                         ", in the manifest " +
                                                         check.file.repo_checksum.str()});
}

}  // namespace chronos::ops::verify
