#pragma once

#include <memory>
#include <string>

#include "chronos/base/clock.h"
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

/// Keys with the moment they cease to be valid; 0: never.
struct Fetched {
    Credentials credentials;
    UnixTime expires = 0;
};

/// Takes keys out of the JSON of instance metadata, pod identity and processes, which differ only
/// in the name of the token. `where` is for messages, which never have anything of the text but
/// a code of failure.
Result<Fetched> parse_json_keys(const std::string& text, const std::string& where);

/// `options.environment` must be set.
Result<std::unique_ptr<CredentialSource>> make_credential_source(const S3Options& options);

}  // namespace chronos::storage::s3
