#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "chronos/compress/compress.h"
#include "chronos/crypto/cipher.h"
#include "chronos/crypto/hash.h"
#include "chronos/io/stream.h"
#include "chronos/pgdata/page_checksum.h"
#include "chronos/repo/manifest.h"

namespace chronos::ops::backup {

/// How the files of a backup are stored: but for the framing the same for all of them.
struct StoreForm {
    compress::CompressType compress_type = compress::CompressType::none;
    int compress_level = 0;
    std::string passphrase;  ///< of the set; "" in an unencrypted repository; secret
    bool raw = false;        ///< the framing of raw bundles and super blocks

    bool encrypted() const { return !passphrase.empty(); }
    /// Stored bytes differ from the content.
    bool transforms() const { return compress_type != compress::CompressType::none || encrypted(); }
};

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
/// compression, encryption, SHA-1 of the stored bytes, storage. One thread.
class StorePipeline {
public:
    StorePipeline(const StoreForm& form, std::unique_ptr<io::Sink> target,
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
    std::unique_ptr<io::Sink> encryptor_;
    std::unique_ptr<io::Sink> compressor_;
    std::optional<pgdata::PageCheckSink> pages_;
    std::optional<crypto::Sha1Sink> content_;
};

}  // namespace chronos::ops::backup
