#pragma once

#include <memory>

#include "chronos/base/result.h"
#include "chronos/storage/s3/s3_storage.h"
#include "storage/s3/signer.h"

namespace chronos::storage::s3 {

/// Where the keys come from. Any thread; temporary keys are fetched at the first call and again
/// when they expire within five minutes, files are read again when they have changed.
class CredentialSource {
public:
    virtual ~CredentialSource() = default;
    virtual Result<Credentials> get() = 0;
    /// The server takes these keys for expired. True if the next call may give others.
    virtual bool invalidate(const Credentials& refused) = 0;
};

/// `options.environment` must be set.
Result<std::unique_ptr<CredentialSource>> make_credential_source(const S3Options& options);

}  // namespace chronos::storage::s3
