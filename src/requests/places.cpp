#include "chronos/requests/places.h"

#include <string>
#include <vector>

#include "chronos/repo/places.h"
#include "chronos/requests/context.h"
#include "chronos/requests/repositories.h"

namespace chronos::requests {
namespace {

std::string name_of(unsigned key) {
    return "repo" + std::to_string(key);
}

/// Two names of the same directory are found apart from this.
std::string location_text(const config::Config& config, unsigned key) {
    std::string place = config.get_string({"repo-type", key});
    for (const config::TextName option :
         {config::TextName{"repo-s3-endpoint", key}, config::TextName{"repo-s3-region", key},
          config::TextName{"repo-s3-bucket", key}, config::TextName{"repo-storage-host", key}})
        place += "\n" + config.get_string(option);
    place += "\n" + (config.has({"repo-storage-port", key})
                         ? std::to_string(config.get_int({"repo-storage-port", key}))
                         : std::string());
    return place + "\n" + config.get_string({"repo-path", key});
}

bool same_directory(const config::Config& config, unsigned a, unsigned b) {
    if (!config.is_directory(a) || !config.is_directory(b)) return false;
    const std::string left = config.get_string({"repo-path", a});
    const std::string right = config.get_string({"repo-path", b});
    return repo::lies_in(left, right) && repo::lies_in(right, left);
}

/// Below what commands list, move and delete in `outer`: there it would pass for a backup, WAL or a
/// stanza. Beside these trees two repositories do not meet.
bool lies_among_content(const config::Config& config, unsigned inner, unsigned outer) {
    if (!config.is_directory(inner) || !config.is_directory(outer)) return false;
    const std::string path = config.get_string({"repo-path", inner});
    for (const char* tree : {"/archive", "/backup", "/chronos"})
        if (repo::lies_in(path, config.get_string({"repo-path", outer}) + tree)) return true;
    return false;
}

Result<> check_pair(const config::Config& config, unsigned a, unsigned b) {
    const auto placed = [&](const std::string& how) {
        return Error(ErrorKind::option_invalid_value,
                     how + ", '" + config.get_string({"repo-path", b}) + "'")
            .with_hint("Give each repository a place of its own, or remove the options of " +
                       name_of(b) + ".");
    };
    if (location_text(config, a) == location_text(config, b) || same_directory(config, a, b))
        return placed(name_of(a) + " and " + name_of(b) + " are the same place");
    if (lies_among_content(config, b, a))
        return placed(name_of(b) + " lies among the backups and WAL of " + name_of(a));
    if (lies_among_content(config, a, b))
        return placed(name_of(a) + " lies among the backups and WAL of " + name_of(b));
    return {};
}

Result<> check_distinct(const config::Config& config) {
    const std::vector<unsigned> keys = config.repo_keys();
    for (std::size_t i = 0; i < keys.size(); ++i)
        for (std::size_t j = 0; j < i; ++j) CHRONOS_TRY(check_pair(config, keys[j], keys[i]));
    return {};
}

}  // namespace

Result<> check_places(const config::Config& config, const std::string& pg_path) {
    CHRONOS_TRY(check_distinct(config));
    if (pg_path.empty()) return {};
    const std::vector<repo::Place> places = repo::cluster_places(pg_path);
    for (const unsigned key : config.repo_keys())
        if (config.is_directory(key)) {
            const repo::Repository repository = CHRONOS_TRY(open_repository(config, key));
            CHRONOS_TRY(repo::check_repository_place(repository, places));
        }
    return {};
}

}  // namespace chronos::requests
