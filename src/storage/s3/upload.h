#pragma once

#include <cstdint>
#include <memory>

#include "chronos/io/stream.h"
#include "chronos/storage/storage.h"
#include "storage/s3/client.h"

namespace chronos::storage::s3 {

/// Writes one object: a single PUT when it is smaller than the chunk size, else a multipart upload
/// with up to `upload_parallel` parts under way while the next is being filled. Destroyed without
/// finish() the upload is aborted and no object appears. `exclusive` is for what fits into a chunk.
///
/// What the store says of the content (ETag) is compared with what was sent. Memory: up to
/// `upload_parallel` parts and the one being filled.
std::unique_ptr<io::Sink> make_upload(std::shared_ptr<Client> client, std::string key,
                                      WriteMode mode);

/// Begins an upload in parts and returns its id.
Result<std::string> begin_upload(Client& client, const std::string& key);

/// Size in bytes of part `number` (from 1): the chunk size for the first 205, then growing so that
/// the 10000 parts S3 allows suffice for any object of 5 TiB.
/// Source: docs/format/s3.md, Operations.
std::uint64_t part_size(std::uint64_t chunk_size, std::uint64_t number);

}  // namespace chronos::storage::s3
