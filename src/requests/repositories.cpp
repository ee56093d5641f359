#include "chronos/requests/repositories.h"

#include "chronos/base/text.h"
#include "chronos/requests/process.h"
#include "chronos/storage/posix/posix_storage.h"
#include "chronos/storage/s3/s3_storage.h"
#include "chronos/storage/storage.h"

namespace chronos::requests {
namespace {

storage::S3KeyType key_type(std::string_view name) {
    if (name == "auto") return storage::S3KeyType::automatic;
    if (name == "web-id") return storage::S3KeyType::web_identity;
    if (name == "pod-id") return storage::S3KeyType::pod_identity;
    if (name == "process") return storage::S3KeyType::process;
    return storage::S3KeyType::shared;
}

Result<std::optional<UnixTime>> target_time(const config::Config& config, unsigned key) {
    const config::TextName option{"repo-target-time", key};
    const std::string text = config.get_string(option);
    if (text.empty()) return std::optional<UnixTime>();
    const auto time_us = parse_time_us(text);
    if (!time_us)
        return Error(ErrorKind::option_invalid_value,
                     "'" + printable(text) + "' is not valid for '" + written(option) + "' option")
            .with_hint("Write a time as \"2026-11-20 08:11:30+00\".");
    return std::optional<UnixTime>(*time_us / 1000000);
}

/// What has worked for hours sits an outage of some minutes out; whoever waits for an answer wants
/// to hear of it. pgBackRest repeats for io-timeout.
bool runs_long(const config::Config& config) {
    return config.rules() == "backup" || config.rules() == "restore" ||
           config.rules() == "verify" || config.rules() == "expire";
}

Result<std::unique_ptr<storage::Storage>> open_s3(const config::Config& config, unsigned key) {
    storage::S3Options options;
    const auto text = [&](config::TextName::OfGroup option) {
        return config.get_string({option, key});
    };
    options.bucket = text("repo-s3-bucket");
    options.prefix = text("repo-path").substr(1);
    // An endpoint nobody set is the region's: the storage knows more kinds of regions than one.
    if (config.has({"repo-s3-endpoint", key})) options.endpoint = text("repo-s3-endpoint");
    options.region = text("repo-s3-region");
    options.path_style = text("repo-s3-uri-style") == "path";
    options.service = text("repo-s3-service");
    options.key_type = key_type(text("repo-s3-key-type"));
    options.key = text("repo-s3-key");
    options.key_secret = text("repo-s3-key-secret");
    options.token = text("repo-s3-token");
    options.role = text("repo-s3-role");
    options.process_command = config.get_list({"repo-s3-process-cmd", key});
    options.sts_host = text("repo-s3-sts-host");
    options.kms_key_id = text("repo-s3-kms-key-id");
    options.customer_key = text("repo-s3-sse-customer-key");
    options.server_side_aes = text("repo-s3-sse") == "aes256";
    options.storage_class = text("repo-s3-storage-class");
    options.requester_pays = config.get_bool({"repo-s3-requester-pays", key});
    options.tags = config.get_hash({"repo-storage-tag", key});
    options.host = text("repo-storage-host");
    if (config.has({"repo-storage-port", key}))
        options.port = static_cast<unsigned>(config.get_int({"repo-storage-port", key}));
    options.verify_tls = config.get_bool({"repo-storage-verify-tls", key});
    options.ca_file = text("repo-storage-ca-file");
    options.ca_path = text("repo-storage-ca-path");
    options.tls_cipher_12 = config.get_string("tls-cipher-12");
    options.tls_cipher_13 = config.get_string("tls-cipher-13");
    options.upload_chunk_size_bytes = config.get_size({"repo-storage-upload-chunk-size", key});
    options.io_timeout = config.get_time("io-timeout");
    options.retry_for = config.get_time("io-timeout") * (runs_long(config) ? 5 : 1);
    options.cancel = process_cancellation();
    options.user_agent = "chronos_backup/" CHRONOS_VERSION;
    options.target_time = CHRONOS_TRY(target_time(config, key));
    return storage::make_s3_storage(std::move(options));
}

}  // namespace

Result<repo::Repository> open_repository(const config::Config& config, unsigned key) {
    repo::Repository repository;
    repository.key = key;
    if (config.is_directory(key))
        repository.storage = storage::make_posix_storage(config.get_string({"repo-path", key}));
    else
        repository.storage = CHRONOS_TRY(open_s3(config, key));
    if (config.get_string({"repo-cipher-type", key}) == "aes-256-cbc") {
        repository.cipher = crypto::CipherType::aes_256_cbc;
        repository.passphrase = config.get_string({"repo-cipher-pass", key});
        repository.previous_passphrase = config.get_string({"repo-cipher-pass-previous", key});
    }
    return repository;
}

Result<std::vector<repo::Repository>> open_repositories(const config::Config& config) {
    std::vector<unsigned> keys = config.repo_keys();
    if (const std::int64_t wanted = config.get_int("repo"); wanted != 0)
        keys = {static_cast<unsigned>(wanted)};
    std::vector<repo::Repository> repositories;
    repositories.reserve(keys.size());
    for (const unsigned key : keys)
        repositories.push_back(CHRONOS_TRY(open_repository(config, key)));
    return repositories;
}

std::vector<repo::Repository> open_other_repositories(const config::Config& config) {
    std::vector<repo::Repository> others;
    const std::int64_t wanted = config.get_int("repo");
    if (wanted == 0) return others;
    for (const unsigned key : config.repo_keys())
        if (key != static_cast<unsigned>(wanted))
            if (auto other = open_repository(config, key)) others.push_back(*std::move(other));
    return others;
}

std::vector<unsigned> lock_keys(const config::Config& config) {
    if (config.has("repo")) return {static_cast<unsigned>(config.get_int("repo"))};
    return config.repo_keys();
}

}  // namespace chronos::requests
