#include "chronos/repo/lazy_file.h"

#include <algorithm>
#include <numeric>
#include <tuple>

#include "chronos/crypto/hash.h"
#include "chronos/repo/stored_file.h"

// Source: docs/format/bundles-and-blocks.md.
namespace chronos::repo {
namespace {

/// Passes on what is written, with its place in the file.
class PartSink final : public io::Sink {
public:
    explicit PartSink(const LazyFile::Receiver& receive) : receive_(receive) {}
    Result<> write(io::Bytes in) override {
        CHRONOS_TRY(receive_(offset_, in));
        offset_ += in.size();
        return {};
    }
    Result<> finish() override { return {}; }

private:
    const LazyFile::Receiver& receive_;
    std::uint64_t offset_ = 0;
};

auto super_block_of(const BlockMapItem& item) {
    return std::tuple(item.reference, item.bundle_id, item.offset);
}

}  // namespace

Result<> check_content(const Manifest& manifest, const ManifestFile& file, std::uint64_t size_bytes,
                       const std::string& sha1) {
    if (size_bytes == file.size && file.expected_checksum() == sha1) return {};
    return Error(ErrorKind::checksum, "the content of file '" + file.name +
                                          "' has another size or checksum than the manifest of "
                                          "backup '" +
                                          manifest.label + "' says");
}

Result<LazyFile> LazyFile::open(const Repository& repository, const std::string& stanza,
                                const Manifest& manifest, const ManifestFile& file) {
    LazyFile lazy(repository, stanza, manifest, file);
    if (file.size == 0 || !file.block_incremental()) return lazy;
    lazy.map_ = CHRONOS_TRY(read_block_map(repository, stanza, manifest, file));
    lazy.find_units();
    return lazy;
}

/// Units are numbered as they first appear in the file, their blocks ascend.
void LazyFile::find_units() {
    blocks_.resize(map_.size());
    std::iota(blocks_.begin(), blocks_.end(), 0U);
    const auto key = [this](std::uint32_t number) { return super_block_of(map_[number]); };
    std::ranges::stable_sort(blocks_, {}, key);
    std::vector<std::pair<std::uint32_t, std::uint32_t>> groups;  // first block, place in blocks_
    for (std::uint32_t i = 0; i < blocks_.size(); ++i)
        if (i == 0 || key(blocks_[i]) != key(blocks_[i - 1])) groups.emplace_back(blocks_[i], i);
    std::vector<std::uint32_t> ends;
    for (std::size_t g = 1; g < groups.size(); ++g) ends.push_back(groups[g].second);
    ends.push_back(static_cast<std::uint32_t>(blocks_.size()));
    std::vector<std::size_t> order(groups.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::ranges::sort(order, {}, [&](std::size_t g) { return groups[g].first; });
    std::vector<std::uint32_t> sorted;
    sorted.reserve(blocks_.size());
    unit_of_block_.resize(map_.size());
    for (std::size_t unit = 0; unit < order.size(); ++unit) {
        first_of_unit_.push_back(static_cast<std::uint32_t>(sorted.size()));
        for (std::uint32_t i = groups[order[unit]].second; i < ends[order[unit]]; ++i) {
            unit_of_block_[blocks_[i]] = static_cast<std::uint32_t>(unit);
            sorted.push_back(blocks_[i]);
        }
    }
    first_of_unit_.push_back(static_cast<std::uint32_t>(sorted.size()));
    blocks_ = std::move(sorted);
}

std::size_t LazyFile::unit_count() const {
    if (file_->size == 0) return 0;
    return map_.empty() ? 1 : first_of_unit_.size() - 1;
}

std::size_t LazyFile::unit_at(std::uint64_t offset) const {
    return map_.empty() ? 0 : unit_of_block_[offset / file_->block_size];
}

std::uint64_t LazyFile::block_size_bytes(std::uint64_t number) const {
    return std::min<std::uint64_t>(file_->block_size, file_->size - number * file_->block_size);
}

std::uint64_t LazyFile::unit_size_bytes(std::size_t unit) const {
    if (map_.empty()) return file_->size;
    std::uint64_t size = 0;
    for (std::uint32_t i = first_of_unit_[unit]; i < first_of_unit_[unit + 1]; ++i)
        size += block_size_bytes(blocks_[i]);
    return size;
}

std::uint64_t LazyFile::part_end(std::uint64_t offset) const {
    if (map_.empty()) return file_->size;
    std::uint64_t number = offset / file_->block_size;
    const std::uint32_t unit = unit_of_block_[number];
    while (number < map_.size() && unit_of_block_[number] == unit) ++number;
    return std::min<std::uint64_t>(file_->size, number * file_->block_size);
}

Result<> LazyFile::fetch_whole(const Receiver& receive) const {
    PartSink parts(receive);
    crypto::Sha1Sink sha1(parts);
    CHRONOS_TRY(read_whole_file(*repository_, stanza_, *manifest_, *file_, sha1));
    const std::string object =
        repository_->storage->describe(locate(stanza_, *manifest_, *file_).object);
    CHRONOS_TRY_DOING(check_content(*manifest_, *file_, sha1.size(), sha1.hex()),
                      "read '" + object + "'");
    return {};
}

Result<> LazyFile::fetch(std::span<const std::size_t> units, const Receiver& receive) const {
    if (units.empty()) return {};
    if (map_.empty()) return fetch_whole(receive);
    std::vector<bool> wanted(map_.size(), false);
    std::size_t missing = 0;
    for (const std::size_t unit : units)
        for (std::uint32_t i = first_of_unit_[unit]; i < first_of_unit_[unit + 1]; ++i, ++missing)
            wanted[blocks_[i]] = true;
    const auto check = [&](std::uint64_t number, io::Bytes content) -> Result<> {
        const auto checksum = crypto::xxh3_128(content);
        const BlockMapItem& item = map_[number];
        if (!std::equal(checksum.begin(), checksum.begin() + file_->block_checksum_size,
                        item.checksum.begin()))
            return Error(ErrorKind::checksum, "block " + std::to_string(number) + " of file '" +
                                                  file_->name +
                                                  "' has another checksum than its block map says")
                .while_doing("read '" +
                             repository_->storage->describe(
                                 block_object(stanza_, *manifest_, *file_, item)) +
                             "' at offset " + std::to_string(item.offset));
        --missing;
        return receive(number * file_->block_size, content);
    };
    CHRONOS_TRY(read_blocks(*repository_, stanza_, *manifest_, *file_, map_, wanted, check));
    if (missing == 0) return {};
    return Error(ErrorKind::internal, "read file '" + file_->name +
                                          "': " + std::to_string(missing) + " blocks did not come");
}

std::size_t LazyFile::memory_bytes() const {
    return sizeof *this + map_.capacity() * sizeof(BlockMapItem) +
           (unit_of_block_.capacity() + blocks_.capacity() + first_of_unit_.capacity()) *
               sizeof(std::uint32_t);
}

}  // namespace chronos::repo
