#include "chronos/requests/expire_options.h"

#include "chronos/requests/repositories.h"

namespace chronos::requests {
namespace {

using ops::expire::Unit;

/// As file and command line have it: the tables of the options hold no other word.
Unit unit_of(const config::Config& config, config::TextName option) {
    return config.get_string(option) == "time" ? Unit::days : Unit::count;
}

std::optional<std::uint64_t> number_of(const config::Config& config, config::IntName option) {
    if (!config.has(option)) return std::nullopt;
    return static_cast<std::uint64_t>(config.get_int(option));
}

ops::expire::ExpireRepository with_retention(const config::Config& config,
                                             repo::Repository repository) {
    const unsigned key = repository.key;
    return {std::move(repository), retention_of(config, key),
            config.get_bool({"repo-symlink", key})};
}

}  // namespace

ops::expire::Retention retention_of(const config::Config& config, unsigned key) {
    ops::expire::Retention retention;
    retention.full_unit = unit_of(config, {"repo-retention-full-type", key});
    retention.full = number_of(config, {"repo-retention-full", key});
    retention.diff_unit = unit_of(config, {"repo-retention-diff-type", key});
    retention.diff = number_of(config, {"repo-retention-diff", key});
    retention.diff_per_full = config.get_string({"repo-retention-diff-scope", key}) == "per-full";
    retention.incr_unit = unit_of(config, {"repo-retention-incr-type", key});
    retention.incr = number_of(config, {"repo-retention-incr", key});
    retention.full_floor =
        static_cast<std::uint64_t>(config.get_int({"repo-retention-floor", key}));
    retention.archive_type =
        repo::parse_backup_type(config.get_string({"repo-retention-archive-type", key}))
            .value_or(repo::BackupType::full);
    retention.archive = number_of(config, {"repo-retention-archive", key});
    retention.history_days = number_of(config, {"repo-retention-history", key});
    return retention;
}

Result<ops::expire::ExpireRequest> expire_request(const config::Config& config) {
    ops::expire::ExpireRequest request;
    request.stanza = config.stanza();
    for (repo::Repository& repository : CHRONOS_TRY(open_repositories(config)))
        request.repositories.push_back(with_retention(config, std::move(repository)));
    request.lock_keys = lock_keys(config);
    request.lock_path = config.get_string("lock-path");
    request.exec_id = config.get_string("exec-id");
    request.pg_path = config.get_string("pg1-path");
    return request;
}

Result<ops::expire::ExpireRequest> expire_request_in(const config::Config& config,
                                                     unsigned repo_key) {
    ops::expire::ExpireRequest request = CHRONOS_TRY(expire_request(config));
    std::erase_if(request.repositories,
                  [&](const auto& one) { return one.repository.key != repo_key; });
    return request;
}

}  // namespace chronos::requests
