#include "chronos/repo/stored_file.h"

#include <algorithm>
#include <memory>
#include <span>
#include <stdexcept>
#include <tuple>

#include "chronos/crypto/hash.h"
#include "chronos/storage/forwarding.h"

// Source: docs/format/bundles-and-blocks.md.
namespace chronos::repo {
namespace {

/// What all functions here are told: which file of which backup, and where the repository is.
struct Context {
    const Repository& repository;
    const std::string& stanza;
    const Manifest& manifest;
    const ManifestFile& file;
};

std::string bundle_object(const std::string& stanza, std::string_view label, std::uint64_t id) {
    return backup_path(stanza, label) + "/bundle/" + std::to_string(id);
}

std::string pgbi_object(const std::string& stanza, std::string_view label, const SharedText& name) {
    return backup_path(stanza, label) + "/" + name + ".pgbi";
}

/// "read file 'pg_data/a' from '/repo/backup/main/.../bundle/1' at offset 17"
std::string doing(const Context& context, const std::string& object, std::uint64_t offset) {
    return "read file '" + context.file.name + "' from '" +
           context.repository.storage->describe(object) + "'" +
           (offset > 0 ? " at offset " + std::to_string(offset) : "");
}

/// Hands content to the caller's sink, as long as it is as long as the manifest says: a damaged or
/// foreign object must not fill the disk. Remembers whose error ended the reading.
class ContentSink final : public io::Sink {
public:
    ContentSink(io::Sink& next, std::uint64_t size) : next_(next), size_(size) {}

    Result<> write(io::Bytes in) override {
        if (in.size() > size_ - written_)
            return Error(ErrorKind::checksum, "content is longer than the " +
                                                  std::to_string(size_) + " bytes of the manifest");
        written_ += in.size();
        return remember(next_.write(in));
    }
    Result<> finish() override {
        if (written_ != size_)
            return Error(ErrorKind::checksum, "content has " + std::to_string(written_) +
                                                  " bytes, " + std::to_string(size_) +
                                                  " in the manifest");
        return remember(next_.finish());
    }
    bool next_failed() const { return next_failed_; }

private:
    Result<> remember(Result<> result) {
        next_failed_ = !result;
        return result;
    }

    io::Sink& next_;
    std::uint64_t size_;
    std::uint64_t written_ = 0;
    bool next_failed_ = false;
};

Result<> decode_whole(const Context& context, const StoredLocation& stored, io::Sink& content) {
    const Encoding encoding =
        CHRONOS_TRY(file_encoding(context.repository, context.manifest, context.file));
    return decode_object(context.repository, stored.object, encoding, content, stored.range);
}

/// Lets `count` bytes of a bundle through; fewer are an error.
class SliceSource final : public io::Source {
public:
    SliceSource(io::Source& source, std::uint64_t count) : source_(source), left_(count) {}
    Result<std::size_t> read(io::MutableBytes out) override {
        if (left_ == 0) return std::size_t{0};
        const auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(out.size(), left_));
        const std::size_t count = CHRONOS_TRY(source_.read(out.first(wanted)));
        if (count == 0) return Error(ErrorKind::file_read, "unexpected end of bundle");
        left_ -= count;
        return count;
    }

private:
    io::Source& source_;
    std::uint64_t left_;
};

/// That the map is one of this file in this chain of backups.
Result<> check_map(const Context& context, const BlockMap& map) {
    const std::uint64_t block_size = context.file.block_size;
    if (block_size == 0) return Error(ErrorKind::format, "the manifest gives no block size");
    const std::uint64_t size = context.file.size;
    const std::uint64_t count = size / block_size + (size % block_size != 0 ? 1 : 0);
    if (map.size() != count)
        return Error(ErrorKind::format, "block map has " + std::to_string(map.size()) +
                                            " blocks where the file has " + std::to_string(count));
    const std::size_t references = context.manifest.references.size();
    for (const BlockMapItem& item : map)
        if (item.reference >= references)
            return Error(ErrorKind::format, "block map names backup number " +
                                                std::to_string(item.reference) + " of a chain of " +
                                                std::to_string(references));
    return {};
}

Result<BlockMap> decode_map(const Context& context, const std::string& object,
                            storage::Range range) {
    const ManifestFile& file = context.file;
    const Encoding encoding = CHRONOS_TRY(block_map_encoding(context.repository, context.manifest));
    io::MemorySink text(file.block_map_size);
    CHRONOS_TRY(decode_object(context.repository, object, encoding, text, range));
    BlockMap map = CHRONOS_TRY(
        parse_block_map(io::bytes(text.content), {file.block_size, file.block_checksum_size}));
    CHRONOS_TRY(check_map(context, map));
    return map;
}

/// A super block and those of its blocks that are wanted.
struct SuperBlock {
    BlockMapItem place;                      ///< of its first wanted block
    std::span<const std::uint64_t> numbers;  ///< of blocks of the file, by position
};

bool same_object(const BlockMapItem& a, const BlockMapItem& b) {
    return a.reference == b.reference && a.bundle_id == b.bundle_id;
}

/// Numbers of the wanted blocks in the order of reading: the newest backup first, and in an object
/// from front to back.
std::vector<std::uint64_t> in_read_order(const BlockMap& map, const std::vector<bool>& wanted) {
    std::vector<std::uint64_t> numbers;
    for (std::uint64_t number = 0; number < map.size(); ++number)
        if (wanted.empty() || wanted[number]) numbers.push_back(number);
    const auto key = [&](std::uint64_t number) {
        const BlockMapItem& item = map[number];
        return std::tuple(~item.reference, item.bundle_id, item.offset, item.position, number);
    };
    std::ranges::sort(numbers, {}, key);
    return numbers;
}

/// `numbers`, in read order, by super block.
Result<std::vector<SuperBlock>> group(const BlockMap& map, std::span<const std::uint64_t> numbers) {
    std::vector<SuperBlock> groups;
    while (!numbers.empty()) {
        const BlockMapItem& first = map[numbers[0]];
        std::size_t count = 0;
        for (; count < numbers.size(); ++count) {
            const BlockMapItem& item = map[numbers[count]];
            if (!same_object(item, first) || item.offset != first.offset) break;
            if (item.size != first.size || item.super_block_size != first.super_block_size)
                return Error(ErrorKind::format, "block map gives a super block two sizes");
        }
        if (!groups.empty() && same_object(groups.back().place, first) &&
            first.offset - groups.back().place.offset < groups.back().place.size)
            return Error(ErrorKind::format, "super blocks of the block map overlap");
        groups.push_back({first, numbers.first(count)});
        numbers = numbers.subspan(count);
    }
    return groups;
}

/// Cuts the content of a super block into blocks and hands out the wanted ones.
class BlockSplitter final : public io::Sink {
public:
    BlockSplitter(const Context& context, const BlockMap& map, const SuperBlock& super_block,
                  const BlockReceiver& receive)
        : file_(context.file),
          map_(map),
          left_(super_block.place.super_block_size),
          wanted_(super_block.numbers),
          receive_(receive) {}

    Result<> write(io::Bytes in) override {
        if (in.size() > left_) return wrong_size("longer");
        while (!in.empty()) {
            const std::uint64_t block_left =
                std::min<std::uint64_t>(file_.block_size - held_.size(), left_);
            const io::Bytes part = in.first(std::min<std::uint64_t>(in.size(), block_left));
            in = in.subspan(part.size());
            left_ -= part.size();
            const bool complete = part.size() == block_left;
            if (complete && held_.empty()) {
                CHRONOS_TRY(hand_out(part));
                continue;
            }
            held_ += io::text(part);
            if (!complete) continue;
            CHRONOS_TRY(hand_out(io::bytes(held_)));
            held_.clear();
        }
        return {};
    }

    Result<> finish() override {
        if (left_ > 0) return wrong_size("shorter");
        if (!wanted_.empty())
            return Error(ErrorKind::format, "a block lies outside of its super block");
        return {};
    }

private:
    static Error wrong_size(const std::string& how) {
        return Error(ErrorKind::format, "super block is " + how + " than the block map says");
    }

    Result<> hand_out(io::Bytes content) {
        for (; !wanted_.empty() && map_[wanted_[0]].position == position_;
             wanted_ = wanted_.subspan(1)) {
            const std::uint64_t number = wanted_[0];
            const std::uint64_t size =
                std::min<std::uint64_t>(file_.block_size, file_.size - number * file_.block_size);
            if (content.size() != size)
                return Error(ErrorKind::format, "block " + std::to_string(number) + " has " +
                                                    std::to_string(content.size()) +
                                                    " bytes instead of " + std::to_string(size));
            CHRONOS_TRY(receive_(number, content));
        }
        ++position_;
        return {};
    }

    const ManifestFile& file_;
    const BlockMap& map_;
    std::uint64_t left_;                     ///< bytes to come
    std::span<const std::uint64_t> wanted_;  ///< numbers not handed out yet
    const BlockReceiver& receive_;
    std::string held_;  ///< the front of a block whose end is to come
    std::uint64_t position_ = 0;
};

/// Serves a source in pieces of any size out of large reads.
class Pieces {
public:
    Pieces(io::Source& source, io::MutableBytes buffer) : source_(source), buffer_(buffer) {}

    /// At least one byte and at most `size_max`.
    Result<io::Bytes> next(std::uint64_t size_max) {
        if (rest_.empty()) {
            const std::size_t count = CHRONOS_TRY(source_.read(buffer_));
            if (count == 0) return Error(ErrorKind::file_read, "the object ends early");
            rest_ = buffer_.first(count);
        }
        const io::Bytes piece = rest_.first(std::min<std::uint64_t>(rest_.size(), size_max));
        rest_ = rest_.subspan(piece.size());
        return piece;
    }

private:
    io::Source& source_;
    io::MutableBytes buffer_;
    io::Bytes rest_;
};

class BlockReader {
public:
    BlockReader(const Context& context, const Encoding& encoding, const BlockMap& map,
                const BlockReceiver& receive)
        : context_(context),
          encoding_(encoding),
          map_(map),
          receive_([this, &receive](std::uint64_t number, io::Bytes content) {
              auto result = receive(number, content);
              receiver_failed_ = !result;
              return result;
          }),
          buffer_(std::make_unique_for_overwrite<std::byte[]>(io::kBufferSize)) {}

    /// Super blocks that touch are fetched by one read.
    Result<> read(std::span<const SuperBlock> super_blocks) {
        while (!super_blocks.empty()) {
            std::size_t count = 1;
            while (count < super_blocks.size() &&
                   touch(super_blocks[count - 1].place, super_blocks[count].place))
                ++count;
            CHRONOS_TRY(read_extent(super_blocks.first(count)));
            super_blocks = super_blocks.subspan(count);
        }
        return {};
    }

private:
    static bool touch(const BlockMapItem& a, const BlockMapItem& b) {
        return same_object(a, b) && a.offset + a.size == b.offset;
    }

    Result<> read_extent(std::span<const SuperBlock> super_blocks) {
        const BlockMapItem& first = super_blocks.front().place;
        const BlockMapItem& last = super_blocks.back().place;
        const std::string object =
            block_object(context_.stanza, context_.manifest, context_.file, first);
        const storage::Range range{first.offset, last.offset + last.size - first.offset};
        auto source = context_.repository.storage->open(object, range);
        if (!source)
            return std::move(source).error().while_doing(doing(context_, object, first.offset));
        Pieces pieces(**source, {buffer_.get(), io::kBufferSize});
        for (const SuperBlock& super_block : super_blocks) {
            auto result = read_super_block(super_block, pieces);
            if (!result && receiver_failed_) return result;
            if (!result)
                return std::move(result).error().while_doing(
                    doing(context_, object, super_block.place.offset));
        }
        return {};
    }

    Result<> read_super_block(const SuperBlock& super_block, Pieces& pieces) {
        BlockSplitter splitter(context_, map_, super_block, receive_);
        Decoder decoder(encoding_, splitter);
        for (std::uint64_t left = super_block.place.size; left > 0;) {
            const io::Bytes piece = CHRONOS_TRY(pieces.next(left));
            CHRONOS_TRY(decoder.write(piece));
            left -= piece.size();
        }
        return decoder.finish();
    }

    const Context& context_;
    const Encoding& encoding_;  ///< of super blocks
    const BlockMap& map_;
    BlockReceiver receive_;
    std::unique_ptr<std::byte[]> buffer_;
    bool receiver_failed_ = false;
};

}  // namespace

StoredLocation locate(const std::string& stanza, const Manifest& manifest,
                      const ManifestFile& file) {
    const std::string_view label =
        file.reference.empty() ? std::string_view(manifest.label) : file.reference.view();
    if (file.bundled())
        return {bundle_object(stanza, label, file.bundle_id), {file.bundle_offset, file.repo_size}};
    if (file.block_incremental())
        return {pgbi_object(stanza, label, file.name), {0, file.repo_size}};
    // No size: a file that is shorter than it was shall show as what it is, a broken stream.
    return {backup_path(stanza, label) + "/" + file.name +
                std::string(compress::compress_extension(manifest.options.compress_type)),
            {}};
}

std::string block_object(const std::string& stanza, const Manifest& manifest,
                         const ManifestFile& file, const BlockMapItem& item) {
    const std::string& label = manifest.references[item.reference];
    return item.bundle_id == 0 ? pgbi_object(stanza, label, file.name)
                               : bundle_object(stanza, label, item.bundle_id);
}

Result<> read_whole_file(const Repository& repository, const std::string& stanza,
                         const Manifest& manifest, const ManifestFile& file, io::Sink& sink) {
    if (file.block_incremental())
        throw std::logic_error("a block-incremental file read as a whole one");
    if (file.size == 0) return sink.finish();
    const Context context{repository, stanza, manifest, file};
    const StoredLocation stored = locate(stanza, manifest, file);
    ContentSink content(sink, file.size);
    auto result = decode_whole(context, stored, content);
    if (!result && !content.next_failed())
        return std::move(result).error().while_doing(
            doing(context, stored.object, stored.range.offset_bytes));
    return result;
}

StoredRun::StoredRun(const Repository& repository, StoredLocation location, Encoding encoding,
                     std::unique_ptr<io::Source> source)
    : repository_(repository),
      location_(std::move(location)),
      encoding_(std::move(encoding)),
      source_(std::move(source)),
      at_(location_.range.offset_bytes) {}

Result<StoredRun> StoredRun::open(const Repository& repository, const std::string& stanza,
                                  const Manifest& manifest, const ManifestFile& first,
                                  const ManifestFile& last) {
    StoredLocation location = locate(stanza, manifest, first);
    location.range.size_bytes = last.bundle_offset + last.repo_size - first.bundle_offset;
    Encoding encoding = CHRONOS_TRY(file_encoding(repository, manifest, first));
    auto source = CHRONOS_TRY(repository.storage->open(location.object, location.range));
    return StoredRun(repository, std::move(location), std::move(encoding), std::move(source));
}

Result<> StoredRun::go_to(const ManifestFile& file) {
    SliceSource skipped(*source_, file.bundle_offset - at_);
    io::NullSink nowhere;
    CHRONOS_TRY(io::pump(skipped, nowhere));
    at_ = file.bundle_offset;
    file_ = &file;
    return {};
}

Result<> StoredRun::read_whole(io::Sink& sink) {
    Decoder decoder(encoding_, sink);
    SliceSource member(*source_, file_->repo_size);
    CHRONOS_TRY(io::copy(member, decoder));
    at_ += file_->repo_size;
    return {};
}

Result<Repository> StoredRun::hold() {
    SliceSource member(*source_, file_->repo_size);
    std::string content = CHRONOS_TRY(io::read_all(member));
    at_ += file_->repo_size;
    Repository at_hand = repository_;
    at_hand.storage = std::make_shared<storage::HeldRegion>(
        repository_.storage, location_.object, file_->bundle_offset, std::move(content));
    return at_hand;
}

Result<BlockMap> read_block_map(const Repository& repository, const std::string& stanza,
                                const Manifest& manifest, const ManifestFile& file) {
    if (!file.block_incremental()) throw std::logic_error("a file without a block map");
    const Context context{repository, stanza, manifest, file};
    const StoredLocation stored = locate(stanza, manifest, file);
    if (file.block_map_size > file.repo_size)
        return Error(ErrorKind::format, "the block map of file '" + file.name +
                                            "' is larger than what is stored of the file");
    const storage::Range range{stored.range.offset_bytes + file.repo_size - file.block_map_size,
                               file.block_map_size};
    auto map = decode_map(context, stored.object, range);
    if (!map)
        return std::move(map).error().while_doing(
            doing(context, stored.object, range.offset_bytes));
    return map;
}

Result<> read_blocks(const Repository& repository, const std::string& stanza,
                     const Manifest& manifest, const ManifestFile& file, const BlockMap& map,
                     const std::vector<bool>& wanted, const BlockReceiver& receive) {
    if (!wanted.empty() && wanted.size() != map.size())
        throw std::logic_error("wanted blocks of another map");
    const Context context{repository, stanza, manifest, file};
    const Encoding encoding = CHRONOS_TRY(super_block_encoding(repository, manifest));
    CHRONOS_TRY_DOING(check_map(context, map), "read file '" + file.name + "'");
    const std::vector<std::uint64_t> numbers = in_read_order(map, wanted);
    const std::vector<SuperBlock> super_blocks =
        CHRONOS_TRY_DOING(group(map, numbers), "read file '" + file.name + "'");
    return BlockReader(context, encoding, map, receive).read(super_blocks);
}

Result<std::string> read_small_file(const Repository& repository, const std::string& stanza,
                                    const Manifest& manifest, const ManifestFile& file,
                                    std::uint64_t size_max_bytes) {
    if (file.size > size_max_bytes)
        return Error(ErrorKind::file_read,
                     "file '" + file.name + "' has " + std::to_string(file.size) +
                         " bytes, more than the " + std::to_string(size_max_bytes) +
                         " that such a file may have");
    io::MemorySink whole(static_cast<std::size_t>(file.size));
    if (!file.block_incremental()) {
        CHRONOS_TRY(read_whole_file(repository, stanza, manifest, file, whole));
    } else {
        whole.content.resize(static_cast<std::size_t>(file.size));
        const BlockMap map = CHRONOS_TRY(read_block_map(repository, stanza, manifest, file));
        const auto put = [&](std::uint64_t number, io::Bytes content) -> Result<> {
            whole.content.replace(number * file.block_size, content.size(), io::text(content));
            return {};
        };
        CHRONOS_TRY(read_blocks(repository, stanza, manifest, file, map, {}, put));
    }
    if (file.size > 0 && file.checksum != crypto::sha1_hex(whole.content))
        return Error(ErrorKind::checksum, "the content of file '" + file.name +
                                              "' has another checksum than the manifest of backup "
                                              "'" +
                                              manifest.label + "' says");
    return std::move(whole.content);
}

}  // namespace chronos::repo
