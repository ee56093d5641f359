// Idea: a file of a backup is cut into blocks; a block whose checksum the prior's map has at the
// same number is not stored again but referred to. New blocks are collected into a super block, the
// unit of compression and encryption, and the map of all of them ends the stored file
// (docs/format/bundles-and-blocks.md).
//
//     content -> SHA-1 -> page checks -> end_block() -> super block -> Task -> store()
//
// `super_block_` holds the new blocks and, from block_start_ on, the front of the block that is
// being read: an unchanged block is cut off again (resize to block_start_), a new one becomes part
// of it.
//
// Super blocks are encoded by any thread and stored in their order: pending_ is that order. So
// where one will lie is not known when its blocks enter the map. Until the end the map has for a
// new block the number of its super block in `offset`, and resolve_places() puts the place there
// that `places_` got meanwhile.
//
// Invariant: closed_ == places_.size() + pending_.size(), and each new item's offset is below
// closed_ or names the super block that is being filled.
//
// The object is opened when the first super block is stored: a file all of whose blocks the prior
// has needs none, and then unchanged() says so. The checksums of blocks are short: that all are
// equal is taken for "no change" only if the SHA-1 of the whole content is the prior's as well
// (copy.cpp, store_blocks()).
#include "ops/backup/block_pipeline.h"

#include <algorithm>
#include <cassert>
#include <new>
#include <utility>

namespace chronos::ops::backup {
namespace {

constexpr std::size_t kManySmall = std::size_t{64} * 1024;

/// What a super block, or a map, is stored as.
Result<std::string> encode(const repo::Encoding& encoding, io::Bytes content) {
    io::MemorySink stored;
    repo::Encoder encoder(encoding, stored);
    CHRONOS_TRY(encoder.write(content));
    CHRONOS_TRY(encoder.finish());
    return std::move(stored.content);
}

}  // namespace

/// A super block on its way: content first, stored form when it is done.
class BlockCutter::Task final : public WorkShare::Task {
public:
    Task(const repo::Encoding& encoding, std::string content)
        : encoding_(encoding), content_(std::move(content)), size_(content_.size()) {}

    std::uint64_t content_size() const { return size_; }
    Result<std::string> take() { return std::move(stored_); }

private:
    void run() noexcept override {
        try {
            stored_ = encode(encoding_, io::bytes(content_));
            std::string().swap(content_);
        } catch (const std::bad_alloc&) {
            stored_ = Error(ErrorKind::memory, "out of memory");
        } catch (const std::exception& exception) {
            stored_ = Error(ErrorKind::internal, exception.what());
        }
    }

    const repo::Encoding encoding_;
    std::string content_;
    std::uint64_t size_;
    Result<std::string> stored_ = std::string();
};

BlockCutter::BlockCutter(BlockForm form, OpenTarget open_target, WorkShare& share)
    : form_(std::move(form)), open_target_(std::move(open_target)), share_(share) {
    form_.encoding.form = compress::Form::raw;
}

BlockCutter::~BlockCutter() = default;

Result<> BlockCutter::write(io::Bytes in) {
    const std::size_t block_size = form_.geometry.block_size_bytes;
    while (!in.empty()) {
        // Grown step by step it would be copied as often; most files are smaller.
        if (super_block_.size() >= kManySmall) super_block_.reserve(form_.super_block_size);
        const std::size_t held = super_block_.size() - block_start_;
        const io::Bytes part = in.first(std::min(in.size(), block_size - held));
        super_block_.append(io::text(part));
        in = in.subspan(part.size());
        if (held + part.size() == block_size) CHRONOS_TRY(end_block(block_size));
    }
    return {};
}

Result<> BlockCutter::end_block(std::size_t block_size) {
    const io::Bytes block = io::bytes(super_block_).subspan(block_start_, block_size);
    const auto checksum = crypto::xxh3_128(block);
    const auto prefix = std::span(checksum).first(form_.geometry.checksum_size_bytes);
    const std::size_t number = map_.size();
    repo::BlockMapItem& item = map_.emplace_back();
    if (number < form_.prior.size() &&
        std::ranges::equal(prefix, std::span(form_.prior[number].checksum).first(prefix.size()))) {
        item = form_.prior[number];
        super_block_.resize(block_start_);
        return {};
    }
    item.reference = form_.reference;
    item.offset = closed_;
    item.position = position_++;
    std::ranges::copy(prefix, item.checksum.begin());
    block_start_ = super_block_.size();
    return block_start_ >= form_.super_block_size ? close_super_block() : Result<>{};
}

Result<> BlockCutter::close_super_block() {
    auto task = std::make_shared<Task>(form_.encoding, std::exchange(super_block_, {}));
    block_start_ = 0;
    position_ = 0;
    ++closed_;
    pending_.push_back(task);
    share_.offer(task);
    while (pending_.size() > share_.window() ||
           (!pending_.empty() && share_.done(*pending_.front())))
        CHRONOS_TRY(store_next());
    return {};
}

Result<> BlockCutter::store_next() {
    assert(!pending_.empty() && closed_ == places_.size() + pending_.size());
    const std::shared_ptr<Task> task = pending_.front();
    pending_.pop_front();
    share_.finish(task);
    const std::string data = CHRONOS_TRY(task->take());
    const std::uint64_t before = stored_ ? stored_->size() : 0;
    CHRONOS_TRY(store(data));
    places_.push_back({target_.offset + before, data.size(), task->content_size()});
    return {};
}

Result<> BlockCutter::store(std::string_view data) {
    if (!stored_) {
        target_ = CHRONOS_TRY(open_target_());
        stored_.emplace(*target_.sink);
    }
    return stored_->write(io::bytes(data));
}

Result<> BlockCutter::finish() {
    const std::size_t rest = super_block_.size() - block_start_;
    if (rest > 0) CHRONOS_TRY(end_block(rest));
    if (!super_block_.empty()) CHRONOS_TRY(close_super_block());
    while (!pending_.empty()) CHRONOS_TRY(store_next());
    if (map_.empty()) return {};
    // Where the prior has more blocks, a map alone says that the file became shorter.
    unchanged_ = closed_ == 0 && map_.size() == form_.prior.size();
    if (unchanged_) return {};
    CHRONOS_TRY(store_map());
    return stored_->finish();
}

Result<> BlockCutter::store_map() {
    if (!stored_) CHRONOS_TRY(store({}));
    resolve_places();
    repo::Encoding encoding = form_.encoding;
    encoding.compress_type = compress::CompressType::none;
    const std::string text = repo::format_block_map(map_, form_.geometry);
    const std::string data = CHRONOS_TRY(encode(encoding, io::bytes(text)));
    map_size_ = data.size();
    return store(data);
}

void BlockCutter::resolve_places() {
    for (repo::BlockMapItem& item : map_) {
        if (item.reference != form_.reference) continue;
        assert(item.offset < places_.size());
        const Place& place = places_[item.offset];
        item.bundle_id = target_.bundle_id;
        item.offset = place.offset;
        item.size = place.size;
        item.super_block_size = place.super_block_size;
    }
}

void BlockCutter::describe(StoredAs& stored) {
    if (!stored_) return;
    stored.repo_size = stored_->size();
    stored.repo_checksum = stored_->hex();
    stored.bundle_id = target_.bundle_id;
    stored.bundle_offset = target_.offset;
    stored.block_size = form_.geometry.block_size_bytes;
    stored.block_checksum_size = form_.geometry.checksum_size_bytes;
    stored.block_map_size = map_size_;
}

BlockPipeline::BlockPipeline(BlockForm form, OpenTarget open_target, WorkShare& share,
                             std::optional<PageCheck> page_check)
    : cutter_(std::move(form), std::move(open_target), share) {
    io::Sink* next = &cutter_;
    if (page_check)
        next = &pages_.emplace(page_check->options, std::move(page_check->reread), *next);
    content_.emplace(*next);
}

Result<StoredAs> BlockPipeline::finish() {
    CHRONOS_TRY(content_->finish());
    StoredAs stored;
    stored.size = content_->size();
    stored.checksum = content_->hex();
    cutter_.describe(stored);
    if (pages_) stored.pages = pages_->result();
    return stored;
}

}  // namespace chronos::ops::backup
