#include "chronos/repo/block_map.h"

#include <algorithm>
#include <limits>
#include <map>
#include <optional>
#include <span>
#include <stdexcept>

// Source: docs/format/bundles-and-blocks.md, Block map. A map is a list of runs of blocks that lie
// in the same backup (a reference); a run is a list of super blocks; numbers are varints.
namespace chronos::repo {
namespace {

constexpr unsigned kFlagBits = 3;

// Flags of a run. The meaning of bits 1 and 2 depends on whether the reference has appeared before.
constexpr std::uint64_t kRunLast = 1;      ///< last run of the map
constexpr std::uint64_t kRunBundle = 2;    ///< new reference: a bundle id follows
constexpr std::uint64_t kRunOffset = 4;    ///< an offset, or a gap in a known reference, follows
constexpr std::uint64_t kRunContinue = 2;  ///< known reference: goes on in its last super block
constexpr std::uint64_t kRunContinueLast = 4;  ///< with kRunContinue: the run has no other

// Flags of a super block.
constexpr std::uint64_t kSuperLast = 1;     ///< last super block of the run
constexpr std::uint64_t kSuperChange = 2;   ///< its uncompressed length follows
constexpr std::uint64_t kSuperPartial = 4;  ///< the number of blocks follows

constexpr std::uint32_t kReferenceMax = (std::uint32_t{1} << 29) - 1;

/// What reader and writer keep for each reference: its latest super block.
struct ReferenceState {
    std::uint64_t bundle_id = 0;
    std::uint64_t offset = 0;
    std::uint64_t size = 0;              ///< stored
    std::uint64_t super_block_size = 0;  ///< uncompressed
    std::uint64_t next_position = 0;
};

std::uint64_t block_count(std::uint64_t size, std::uint32_t block_size) {
    return size / block_size + (size % block_size != 0 ? 1 : 0);
}

Error malformed(const std::string& what) {
    return Error(ErrorKind::format, "block map is malformed: " + what);
}

Result<std::uint64_t> add(std::uint64_t a, std::uint64_t b) {
    std::uint64_t sum;
    if (__builtin_add_overflow(a, b, &sum)) return malformed("a number is too large");
    return sum;
}

class Parser {
public:
    Parser(io::Bytes data, BlockGeometry geometry) : rest_(data), geometry_(geometry) {}

    Result<BlockMap> parse() {
        const std::uint64_t flags = CHRONOS_TRY(read_varint());
        if (flags != 0) return malformed("unknown version or flags " + std::to_string(flags));
        // Each block takes its checksum: more items than that the data cannot hold.
        map_.reserve(std::min<std::size_t>(rest_.size() / geometry_.checksum_size_bytes, 1 << 16));
        for (bool last = false; !last;) last = CHRONOS_TRY(read_run());
        if (!rest_.empty())
            return malformed(std::to_string(rest_.size()) + " bytes follow its end");
        return std::move(map_);
    }

private:
    Result<std::uint64_t> read_varint() {
        constexpr unsigned kBitsPerByte = 7;
        std::uint64_t value = 0;
        for (unsigned shift = 0; shift < 64; shift += kBitsPerByte) {
            if (rest_.empty()) return malformed("it ends early");
            const auto byte = std::to_integer<std::uint64_t>(rest_[0]);
            rest_ = rest_.subspan(1);
            const std::uint64_t bits = byte & 0x7F;
            if (bits << shift >> shift != bits) break;
            value |= bits << shift;
            if ((byte & 0x80) == 0) return value;
        }
        return malformed("a number is longer than 64 bits");
    }

    /// `value` and the number that follows.
    Result<std::uint64_t> add_varint(std::uint64_t value) {
        const std::uint64_t more = CHRONOS_TRY(read_varint());
        return add(value, more);
    }

    /// Returns whether it was the last run.
    Result<bool> read_run() {
        const std::uint64_t head = CHRONOS_TRY(read_varint());
        const std::uint64_t reference = head >> kFlagBits;
        if (reference > kReferenceMax) return malformed("a reference is out of range");
        const auto [found, is_new] = references_.try_emplace(static_cast<std::uint32_t>(reference));
        reference_ = found->first;
        ReferenceState& state = found->second;
        bool last_super_block = false;
        if (is_new) {
            state.super_block_size = geometry_.block_size_bytes;
            if (head & kRunBundle) state.bundle_id = CHRONOS_TRY(read_varint());
            if (head & kRunOffset) state.offset = CHRONOS_TRY(read_varint());
        } else if (head & kRunContinue) {
            last_super_block = (head & kRunContinueLast) != 0;
            size_previous_ = state.size;
            CHRONOS_TRY(read_blocks(state, /*partial=*/true));
        } else if (head & kRunOffset) {
            state.offset = CHRONOS_TRY(add_varint(state.offset));
        }
        while (!last_super_block) last_super_block = CHRONOS_TRY(read_super_block(state));
        return (head & kRunLast) != 0;
    }

    /// Returns whether it was the last super block of the run.
    Result<bool> read_super_block(ReferenceState& state) {
        const std::uint64_t head = CHRONOS_TRY(read_varint());
        // The size of the former super block is 0 when there was none.
        state.offset = CHRONOS_TRY(add(state.offset, state.size));
        state.size = CHRONOS_TRY(read_size(head >> kFlagBits));
        state.next_position = 0;
        if (head & kSuperChange) state.super_block_size = CHRONOS_TRY(read_super_block_size());
        CHRONOS_TRY(add(state.offset, state.size));  // where it ends must be a number as well
        CHRONOS_TRY(read_blocks(state, (head & kSuperPartial) != 0));
        return (head & kSuperLast) != 0;
    }

    /// The first size of a map is plain, each further one the zigzag difference to the former.
    Result<std::uint64_t> read_size(std::uint64_t value) {
        if (size_previous_) {
            const std::uint64_t distance = value / 2 + value % 2;
            const bool negative = value % 2 != 0;
            if (negative && distance > *size_previous_)
                return malformed("the size of a super block is negative");
            value =
                negative ? *size_previous_ - distance : CHRONOS_TRY(add(*size_previous_, distance));
        }
        size_previous_ = value;
        return value;
    }

    Result<std::uint64_t> read_super_block_size() {
        const std::uint64_t head = CHRONOS_TRY(read_varint());
        std::uint64_t size;
        if (__builtin_mul_overflow(head / 2, std::uint64_t{geometry_.block_size_bytes}, &size))
            return malformed("a number is too large");
        if (head % 2 != 0) size = CHRONOS_TRY(add_varint(size));
        if (size == 0) return malformed("a super block is empty");
        return size;
    }

    Result<> read_blocks(ReferenceState& state, bool partial) {
        const std::uint64_t blocks =
            block_count(state.super_block_size, geometry_.block_size_bytes);
        std::uint64_t count = blocks;
        if (partial) {
            const std::uint64_t head = CHRONOS_TRY(read_varint());
            count = head / 2 + 1;
            if (head % 2 != 0) state.next_position = CHRONOS_TRY(add_varint(state.next_position));
        }
        if (state.next_position > blocks || count > blocks - state.next_position)
            return malformed("a block lies outside of its super block");
        if (count > rest_.size() / geometry_.checksum_size_bytes) return malformed("it ends early");
        for (; count > 0; --count) add_item(state);
        return {};
    }

    void add_item(ReferenceState& state) {
        BlockMapItem& item = map_.emplace_back();
        item.reference = reference_;
        item.super_block_size = state.super_block_size;
        item.bundle_id = state.bundle_id;
        item.offset = state.offset;
        item.size = state.size;
        item.position = state.next_position++;
        std::ranges::copy(rest_.first(geometry_.checksum_size_bytes), item.checksum.begin());
        rest_ = rest_.subspan(geometry_.checksum_size_bytes);
    }

    io::Bytes rest_;
    BlockGeometry geometry_;
    BlockMap map_;
    std::map<std::uint32_t, ReferenceState> references_;
    std::uint32_t reference_ = 0;                 ///< of the run being read
    std::optional<std::uint64_t> size_previous_;  ///< of the super block last visited
};

using Items = std::span<const BlockMapItem>;

/// The items at the front of `items` that share what `same` compares with the first one.
template <class Same>
Items take_group(Items& items, Same same) {
    const auto end = std::ranges::find_if_not(
        items, [&](const BlockMapItem& item) { return same(item, items.front()); });
    const Items group = items.first(static_cast<std::size_t>(end - items.begin()));
    items = items.subspan(group.size());
    return group;
}

class Formatter {
public:
    explicit Formatter(BlockGeometry geometry) : geometry_(geometry) {}

    std::string format(Items items) {
        if (items.empty()) throw std::logic_error("a block map without blocks");
        write_varint(0);
        while (!items.empty()) {
            const Items run = take_group(
                items, [](const auto& a, const auto& b) { return a.reference == b.reference; });
            write_run(run, /*last=*/items.empty());
        }
        return std::move(text_);
    }

private:
    void write_varint(std::uint64_t value) {
        for (; value >= 0x80; value >>= 7) text_ += static_cast<char>(value | 0x80);
        text_ += static_cast<char>(value);
    }

    void write_run(Items run, bool last) {
        const BlockMapItem& first = run.front();
        const std::uint64_t head =
            std::uint64_t{first.reference} << kFlagBits | (last ? kRunLast : 0);
        const auto [found, is_new] = references_.try_emplace(first.reference);
        ReferenceState& state = found->second;
        const auto same_super_block = [](const BlockMapItem& a, const BlockMapItem& b) {
            return a.offset == b.offset;
        };
        if (is_new) {
            start_reference(state, first, head);
        } else if (first.offset == state.offset) {
            const Items blocks = take_group(run, same_super_block);
            write_varint(head | kRunContinue | (run.empty() ? kRunContinueLast : 0));
            size_previous_ = state.size;
            write_blocks(state, blocks, /*partial=*/true);
        } else {
            const std::uint64_t end = state.offset + state.size;
            require(first.offset >= end && first.bundle_id == state.bundle_id);
            write_varint(head | (first.offset != end ? kRunOffset : 0));
            if (first.offset != end) write_varint(first.offset - end);
            state.offset = first.offset;
            state.size = 0;
        }
        while (!run.empty()) {
            const Items blocks = take_group(run, same_super_block);
            write_super_block(state, blocks, /*last=*/run.empty());
        }
    }

    void start_reference(ReferenceState& state, const BlockMapItem& first, std::uint64_t head) {
        state.super_block_size = geometry_.block_size_bytes;
        state.bundle_id = first.bundle_id;
        state.offset = first.offset;
        write_varint(head | (first.bundle_id != 0 ? kRunBundle : 0) |
                     (first.offset != 0 ? kRunOffset : 0));
        if (first.bundle_id != 0) write_varint(first.bundle_id);
        if (first.offset != 0) write_varint(first.offset);
    }

    void write_super_block(ReferenceState& state, Items blocks, bool last) {
        const BlockMapItem& first = blocks.front();
        require(first.offset == state.offset + state.size);
        const std::uint64_t count = block_count(first.super_block_size, geometry_.block_size_bytes);
        const bool change = first.super_block_size != state.super_block_size;
        const bool partial = first.position != 0 || blocks.size() != count;
        write_varint(size_code(first.size) << kFlagBits | (last ? kSuperLast : 0) |
                     (change ? kSuperChange : 0) | (partial ? kSuperPartial : 0));
        if (change) {
            const std::uint64_t rest = first.super_block_size % geometry_.block_size_bytes;
            write_varint(first.super_block_size / geometry_.block_size_bytes << 1 |
                         (rest != 0 ? 1 : 0));
            if (rest != 0) write_varint(rest);
        }
        state = {first.bundle_id, first.offset, first.size, first.super_block_size, 0};
        write_blocks(state, blocks, partial);
    }

    std::uint64_t size_code(std::uint64_t size) {
        const std::optional<std::uint64_t> previous = size_previous_;
        size_previous_ = size;
        if (!previous) return size;
        return size >= *previous ? (size - *previous) << 1 : ((*previous - size) << 1) - 1;
    }

    void write_blocks(ReferenceState& state, Items blocks, bool partial) {
        const std::uint64_t position = blocks.front().position;
        require(position >= state.next_position);
        if (partial) {
            const std::uint64_t skipped = position - state.next_position;
            write_varint((blocks.size() - 1) << 1 | (skipped != 0 ? 1 : 0));
            if (skipped != 0) write_varint(skipped);
        }
        state.next_position = position;
        for (const BlockMapItem& item : blocks) {
            require(item.position == state.next_position++ && item.size == state.size &&
                    item.super_block_size == state.super_block_size &&
                    item.bundle_id == state.bundle_id);
            text_ += io::text(std::span(item.checksum).first(geometry_.checksum_size_bytes));
        }
    }

    static void require(bool holds) {
        if (!holds) throw std::logic_error("a block map that the format cannot express");
    }

    BlockGeometry geometry_;
    std::string text_;
    std::map<std::uint32_t, ReferenceState> references_;
    std::optional<std::uint64_t> size_previous_;  ///< of the super block last visited
};

bool valid(BlockGeometry geometry) {
    return geometry.block_size_bytes > 0 && geometry.checksum_size_bytes > 0 &&
           geometry.checksum_size_bytes <= BlockMapItem{}.checksum.size();
}

}  // namespace

Result<BlockMap> parse_block_map(io::Bytes data, BlockGeometry geometry) {
    if (!valid(geometry))
        return Error(ErrorKind::format, "block size " + std::to_string(geometry.block_size_bytes) +
                                            " or block checksum size " +
                                            std::to_string(geometry.checksum_size_bytes) +
                                            " is not possible");
    return Parser(data, geometry).parse();
}

std::string format_block_map(const BlockMap& map, BlockGeometry geometry) {
    if (!valid(geometry)) throw std::logic_error("impossible block geometry");
    return Formatter(geometry).format(map);
}

}  // namespace chronos::repo
