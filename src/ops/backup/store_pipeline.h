#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "chronos/crypto/hash.h"
#include "chronos/io/stream.h"
#include "chronos/pgdata/page_checksum.h"
#include "chronos/repo/encoding.h"
#include "chronos/repo/manifest.h"

namespace chronos::ops::backup {

/// What storing a file found out about it: the part of its manifest entry that comes from reading.
struct StoredAs {
    std::uint64_t size = 0;
    std::string checksum;
    std::uint64_t repo_size = 0;
    std::string repo_checksum;    ///< "" when stored without any transformation
    std::uint64_t bundle_id = 0;  ///< 0: an object of its own
    std::uint64_t bundle_offset = 0;
    std::uint32_t block_size = 0;  ///< this and the next two as in the manifest
    std::uint32_t block_checksum_size = 0;
    std::uint64_t block_map_size = 0;
    std::optional<pgdata::PageCheckResult> pages;  ///< only if pages were checked

    void apply_to(repo::ManifestFile& file) const;
};

struct PageCheck {
    pgdata::PageCheckSink::Options options;
    pgdata::PageCheckSink::RereadPage reread;
};

/// The stages that one file of a backup passes: size and SHA-1 of the content, page checksums,
/// encoding, SHA-1 of the stored bytes, storage. One thread.
class StorePipeline {
public:
    StorePipeline(const repo::Encoding& encoding, std::unique_ptr<io::Sink> target,
                  std::optional<PageCheck> page_check);
    StorePipeline(const StorePipeline&) = delete;
    StorePipeline& operator=(const StorePipeline&) = delete;

    Result<> write(io::Bytes in) { return content_->write(in); }
    /// Ends the file; once, after all is written.
    Result<StoredAs> finish();

private:
    // In the order of the data's way back to front: a stage must be destroyed before its next one.
    std::unique_ptr<io::Sink> target_;
    std::optional<crypto::Sha1Sink> stored_;
    std::optional<repo::Encoder> encoder_;
    std::optional<pgdata::PageCheckSink> pages_;
    std::optional<crypto::Sha1Sink> content_;
};

}  // namespace chronos::ops::backup
