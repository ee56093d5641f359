#include "chronos/requests/archive_settings.h"

#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <climits>

#include "chronos/requests/places.h"
#include "chronos/requests/repositories.h"

namespace chronos::requests {
namespace {

Result<> check_working_directory(const std::string& pg_path) {
    struct stat here = {};
    struct stat there = {};
    // The same directory, however many symbolic links lead to it.
    if (stat(".", &here) == 0 && stat(pg_path.c_str(), &there) == 0 &&
        here.st_dev == there.st_dev && here.st_ino == there.st_ino)
        return {};
    std::array<char, PATH_MAX> current{};
    const char* name = getcwd(current.data(), current.size());
    return Error(ErrorKind::option_invalid_value,
                 "PostgreSQL working directory '" + std::string(name == nullptr ? "?" : name) +
                     "' is not the same as option pg1-path '" + pg_path + "'")
        .with_hint("Is the PostgreSQL data_directory configured the same as the pg1-path option?");
}

}  // namespace

Result<ops::archive::PushSettings> archive_push_settings(const config::Config& config) {
    CHRONOS_TRY(check_places(config, config.get_string("pg1-path")));
    ops::archive::PushSettings settings;
    for (const unsigned key : config.repo_keys())
        settings.repositories.push_back(CHRONOS_TRY(open_repository(config, key)));
    settings.stanza = config.stanza();
    settings.pg_path = config.get_string("pg1-path");
    settings.compress_type = compress::parse_compress_type(config.get_string("compress-type"))
                                 .value_or(settings.compress_type);
    if (!config.get_bool("compress")) settings.compress_type = compress::CompressType::none;
    settings.compress_level = config.has("compress-level")
                                  ? static_cast<int>(config.get_int("compress-level"))
                                  : compress::default_compress_level(settings.compress_type);
    settings.process_max = static_cast<std::size_t>(config.get_int("process-max"));
    settings.header_check = config.get_bool("archive-header-check");
    settings.duplicate_warn = config.get_bool("archive-mode-check");
    settings.lock_path = config.get_string("lock-path");
    settings.exec_id = config.get_string("exec-id");
    settings.spool_path = config.get_string("spool-path");
    return settings;
}

ops::archive::DropSettings archive_drop_settings(const config::Config& config) {
    ops::archive::DropSettings settings;
    if (config.has("archive-push-queue-max"))
        settings.queue_max_bytes = config.get_size("archive-push-queue-max");
    settings.spool_path = config.get_string("spool-path");
    settings.stanza = config.stanza();
    settings.pg_path = config.get_string("pg1-path");
    return settings;
}

Result<ops::archive::GetSettings> archive_get_settings(const config::Config& config) {
    return ops::archive::GetSettings{.repositories = CHRONOS_TRY(open_repositories(config)),
                                     .stanza = config.stanza(),
                                     .pg_path = config.get_string("pg1-path")};
}

Result<std::string> resolve_wal_path(const config::Config& config, const std::string& path) {
    if (path.starts_with('/')) return path;
    const std::string pg_path = config.get_string("pg1-path");
    if (pg_path.empty())
        return Error(ErrorKind::option_required,
                     "option 'pg1-path' must be specified when relative wal paths are used")
            .with_hint("Is %f passed to " + config.command() + " instead of %p?")
            .with_hint(
                "PostgreSQL may pass relative paths even with %p depending on the "
                "environment.");
    CHRONOS_TRY(check_working_directory(pg_path));
    return pg_path + "/" + path;
}

std::string base_name(const std::string& path) {
    return path.substr(path.rfind('/') + 1);
}

}  // namespace chronos::requests
