#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "chronos/repo/block_map.h"
#include "ops/backup/bundle.h"
#include "ops/backup/store_pipeline.h"
#include "ops/backup/work_share.h"

namespace chronos::ops::backup {

/// How one file is stored as blocks.
struct BlockForm {
    repo::Encoding encoding;  ///< in raw form whatever it says
    repo::BlockGeometry geometry;
    std::uint64_t super_block_size = 0;  ///< bytes, a multiple of the block size
    std::uint32_t reference = 0;         ///< of the backup being made
    repo::BlockMap prior;                ///< empty: every block is new
};

/// Makes the place where the file is stored; called once, and only if something is.
using OpenTarget = std::function<Result<Bundle::Member>()>;

/// Packs blocks that the prior does not have into super blocks, which are compressed and encrypted
/// by any thread of `share` and stored in their order. One thread.
class BlockCutter final : public io::Sink {
public:
    BlockCutter(BlockForm form, OpenTarget open_target, WorkShare& share);
    BlockCutter(const BlockCutter&) = delete;
    BlockCutter& operator=(const BlockCutter&) = delete;
    ~BlockCutter() override;

    Result<> write(io::Bytes in) override;
    /// Ends the file: stores what is left and the map, or nothing if the prior has all of it.
    Result<> finish() override;

    /// After finish(): whether the prior's stored form serves.
    bool unchanged() const { return unchanged_; }
    /// After finish(): fills what is known of the stored form.
    void describe(StoredAs& stored);

private:
    class Task;
    struct Place {
        std::uint64_t offset = 0;
        std::uint64_t size = 0;
        std::uint64_t super_block_size = 0;
    };
    Result<> end_block(std::size_t block_size);
    Result<> close_super_block();
    Result<> store_next();
    Result<> store(std::string_view data);
    Result<> store_map();
    void resolve_places();

    BlockForm form_;
    OpenTarget open_target_;
    WorkShare& share_;
    Bundle::Member target_;
    std::optional<crypto::Sha1Sink> stored_;
    std::string super_block_;      ///< new blocks, and the front of the one being read
    std::size_t block_start_ = 0;  ///< of the latter
    repo::BlockMap map_;           ///< offset of new blocks: index into places_
    std::uint64_t position_ = 0;   ///< of the next block in the super block
    std::size_t closed_ = 0;       ///< super blocks so far
    std::vector<Place> places_;    ///< of those that are stored
    std::deque<std::shared_ptr<Task>> pending_;
    std::uint64_t map_size_ = 0;
    bool unchanged_ = false;
};

/// The stages that a block-incremental file passes: size and SHA-1 of the content, page checksums,
/// then its blocks. One thread. Source: docs/format/bundles-and-blocks.md, Blocks.
class BlockPipeline {
public:
    BlockPipeline(BlockForm form, OpenTarget open_target, WorkShare& share,
                  std::optional<PageCheck> page_check);
    BlockPipeline(const BlockPipeline&) = delete;
    BlockPipeline& operator=(const BlockPipeline&) = delete;

    Result<> write(io::Bytes in) { return content_->write(in); }
    /// Ends the file; once, after all is written.
    Result<StoredAs> finish();
    bool unchanged() const { return cutter_.unchanged(); }

private:
    // In the order of the data's way back to front: a stage must be destroyed before its next one.
    BlockCutter cutter_;
    std::optional<pgdata::PageCheckSink> pages_;
    std::optional<crypto::Sha1Sink> content_;
};

}  // namespace chronos::ops::backup
