#pragma once

#include <memory>

#include "chronos/io/stream.h"
#include "storage/s3/client.h"

namespace chronos::storage::s3 {

/// Writes one object: a single PUT when it is smaller than the chunk size, else a multipart upload
/// with up to `upload_parallel` parts under way while the next is being filled. Destroyed without
/// finish() the upload is aborted and no object appears.
std::unique_ptr<io::Sink> make_upload(std::shared_ptr<Client> client, std::string key);

}  // namespace chronos::storage::s3
