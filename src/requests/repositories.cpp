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

Result<std::optional<UnixTime>> target_time(const config::Config& config, const std::string& name) {
    const std::string text = config.get_string(name + "-target-time");
    if (text.empty()) return std::optional<UnixTime>();
    const auto time_us = parse_time_us(text);
    if (!time_us)
        return Error(ErrorKind::option_invalid_value,
                     "'" + printable(text) + "' is not valid for '" + name + "-target-time' option")
            .with_hint("Write a time as \"2026-11-20 08:11:30+00\".");
    return std::optional<UnixTime>(*time_us / 1000000);
}

/// What has worked for hours sits an outage of some minutes out; whoever waits for an answer wants
/// to hear of it. pgBackRest repeats for io-timeout.
bool runs_long(const config::Config& config) {
    return config.rules() == "backup" || config.rules() == "restore" ||
           config.rules() == "verify" || config.rules() == "expire";
}

Result<std::unique_ptr<storage::Storage>> open_s3(const config::Config& config,
                                                  const std::string& name) {
    storage::S3Options options;
    const auto text = [&](const char* option) { return config.get_string(name + option); };
    options.bucket = text("-s3-bucket");
    options.prefix = text("-path").substr(1);
    // An endpoint nobody set is the region's: the storage knows more kinds of regions than one.
    if (config.has(name + "-s3-endpoint")) options.endpoint = text("-s3-endpoint");
    options.region = text("-s3-region");
    options.path_style = text("-s3-uri-style") == "path";
    options.service = text("-s3-service");
    options.key_type = key_type(text("-s3-key-type"));
    options.key = text("-s3-key");
    options.key_secret = text("-s3-key-secret");
    options.token = text("-s3-token");
    options.role = text("-s3-role");
    options.process_command = config.get_list(name + "-s3-process-cmd");
    options.sts_host = text("-s3-sts-host");
    options.kms_key_id = text("-s3-kms-key-id");
    options.customer_key = text("-s3-sse-customer-key");
    options.server_side_aes = text("-s3-sse") == "aes256";
    options.storage_class = text("-s3-storage-class");
    options.requester_pays = config.get_bool(name + "-s3-requester-pays");
    options.tags = config.get_hash(name + "-storage-tag");
    options.host = text("-storage-host");
    if (config.has(name + "-storage-port"))
        options.port = static_cast<unsigned>(config.get_int(name + "-storage-port"));
    options.verify_tls = config.get_bool(name + "-storage-verify-tls");
    options.ca_file = text("-storage-ca-file");
    options.ca_path = text("-storage-ca-path");
    options.tls_cipher_12 = config.get_string("tls-cipher-12");
    options.tls_cipher_13 = config.get_string("tls-cipher-13");
    options.upload_chunk_size_bytes = config.get_size(name + "-storage-upload-chunk-size");
    options.io_timeout = config.get_time("io-timeout");
    options.retry_for = config.get_time("io-timeout") * (runs_long(config) ? 5 : 1);
    options.cancel = process_cancellation();
    options.user_agent = "chronos_backup/" CHRONOS_VERSION;
    options.target_time = CHRONOS_TRY(target_time(config, name));
    return storage::make_s3_storage(std::move(options));
}

}  // namespace

Result<repo::Repository> open_repository(const config::Config& config, unsigned key) {
    const std::string name = "repo" + std::to_string(key);
    repo::Repository repository;
    repository.key = key;
    if (config.get_string(name + "-type") == "s3")
        repository.storage = CHRONOS_TRY(open_s3(config, name));
    else
        repository.storage = storage::make_posix_storage(config.get_string(name + "-path"));
    if (config.get_string(name + "-cipher-type") == "aes-256-cbc") {
        repository.cipher = crypto::CipherType::aes_256_cbc;
        repository.passphrase = config.get_string(name + "-cipher-pass");
        repository.previous_passphrase = config.get_string(name + "-cipher-pass-previous");
    }
    return repository;
}

Result<std::vector<repo::Repository>> open_repositories(const config::Config& config) {
    std::vector<unsigned> keys = config.repo_keys();
    if (const std::int64_t wanted = config.get_int("repo"); wanted != 0)
        keys = {static_cast<unsigned>(wanted)};
    std::vector<repo::Repository> repositories;
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
