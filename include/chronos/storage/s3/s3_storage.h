#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "chronos/base/cancel.h"
#include "chronos/base/given.h"
#include "chronos/storage/storage.h"

namespace chronos::storage {

/// Where the keys of a request come from. Source: docs/format/s3.md, Credentials.
enum class S3KeyType {
    shared,        ///< the keys of the configuration, else AWS_* variables, else the shared file
    automatic,     ///< instance role: IMDSv2, or the container endpoint of ECS
    web_identity,  ///< AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN through STS
    pod_identity,  ///< AWS_CONTAINER_CREDENTIALS_FULL_URI (EKS)
    process,       ///< a command that prints keys as JSON
};

/// The options `repoN-s3-*` and `repoN-storage-*`. Source: docs/format/s3.md, Options.
struct S3Options {
    std::string bucket;
    std::string prefix;    ///< repo path without leading or trailing '/'
    std::string endpoint;  ///< "[http[s]://]host[:port]"; "" for the region's
    std::string region;    ///< "": AWS_REGION, AWS_DEFAULT_REGION or what the endpoint's name says
    std::string service;   ///< that a signature is for
    bool path_style = false;
    S3KeyType key_type = S3KeyType::shared;
    std::string key;         ///< secret
    std::string key_secret;  ///< secret
    std::string token;       ///< secret
    std::string role;
    std::vector<std::string> process_command;
    std::string sts_host;
    std::string kms_key_id;
    std::string customer_key;      ///< secret; base64 of 32 bytes (SSE-C)
    bool server_side_aes = false;  ///< SSE-S3
    bool requester_pays = false;
    std::string storage_class;
    std::map<std::string, std::string> tags;
    std::string host;  ///< "[http[s]://]host[:port]": connect here, the certificate must name it
    std::optional<unsigned> port;
    bool verify_tls = true;
    std::string ca_file;
    std::string ca_path;
    std::string tls_cipher_12;
    std::string tls_cipher_13;
    Given<std::uint64_t> upload_chunk_size_bytes;
    unsigned upload_parallel = 4;                 ///< parts of one object under way at once
    Given<std::chrono::milliseconds> io_timeout;  ///< without a byte moving
    /// A request is not repeated after this; but two repetitions are always made.
    Given<std::chrono::milliseconds> retry_for;
    std::string user_agent = "chronos_backup";
    /// Read by name for AWS_* variables; tests give their own.
    std::function<std::optional<std::string>(const std::string&)> environment;
    /// As of this moment, in a versioned bucket (`repo-target-time`); reading only.
    std::optional<UnixTime> target_time;
    /// Ends every wait with an error of kind cancelled; must outlive the storage.
    const Cancellation* cancel = nullptr;
};

/// A bucket, below a prefix. Requests are repeated on passing failures, with jittered back-off,
/// until `retry_for` has passed. Kind access for a refusal, service for other answers, host_connect
/// where there was none; messages name operation, key, status, code and request id, and never a
/// secret. "not found" is only what an S3 server says in its own words: a 404 of somebody in
/// between is an error, or recovery would take a broken gateway for the end of the WAL.
Result<std::unique_ptr<Storage>> make_s3_storage(S3Options options);

/// Requests made so far by the process, by kind of operation: a bill is part of performance.
std::map<std::string, std::uint64_t> s3_request_counts();

}  // namespace chronos::storage
