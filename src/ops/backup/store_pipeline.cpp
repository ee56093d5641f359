#include "ops/backup/store_pipeline.h"

#include <utility>

namespace chronos::ops::backup {

void StoredAs::apply_to(repo::ManifestFile& file) const {
    file.size = size;
    // An empty file has its checksum implicitly: it is not written.
    file.checksum = size == 0 ? std::string() : checksum;
    file.repo_size = repo_size;
    file.repo_checksum = repo_checksum;
    file.bundle_id = bundle_id;
    file.bundle_offset = bundle_offset;
    file.block_size = block_size;
    file.block_checksum_size = block_checksum_size;
    file.block_map_size = block_map_size;
    if (!pages) return;
    file.page_checked = true;
    file.page_error = pages->error();
    // A list of pages says nothing about a file whose pages do not lie where they should.
    if (!pages->misaligned)
        for (const auto& [first, last] : pages->error_ranges)
            file.page_error_ranges.emplace_back(first, last);
}

StorePipeline::StorePipeline(const repo::Encoding& encoding, std::unique_ptr<io::Sink> target,
                             std::optional<PageCheck> page_check)
    : target_(std::move(target)) {
    io::Sink* next = target_.get();
    if (encoding.transforms()) {
        next = &stored_.emplace(*next);
        next = &encoder_.emplace(encoding, *next);
    }
    if (page_check)
        next = &pages_.emplace(page_check->options, std::move(page_check->reread), *next);
    content_.emplace(*next);
}

Result<StoredAs> StorePipeline::finish() {
    CHRONOS_TRY(content_->finish());
    StoredAs stored;
    stored.size = content_->size();
    stored.checksum = content_->hex();
    stored.repo_size = stored_ ? stored_->size() : stored.size;
    if (stored_) stored.repo_checksum = stored_->hex();
    if (pages_) stored.pages = pages_->result();
    return stored;
}

}  // namespace chronos::ops::backup
