#include "cli/places.h"

#include <string>
#include <vector>

#include "chronos/repo/places.h"
#include "cli/context.h"

namespace chronos::cli {
namespace {

/// Two names of the same directory are found apart from this.
std::string location_text(const config::Config& config, const std::string& name) {
    std::string place = config.get_string(name + "-type");
    for (const char* option : {"-s3-endpoint", "-s3-region", "-s3-bucket", "-storage-host"})
        place += "\n" + config.get_string(name + option);
    place += "\n" + (config.has(name + "-storage-port")
                         ? std::to_string(config.get_int(name + "-storage-port"))
                         : std::string());
    return place + "\n" + config.get_string(name + "-path");
}

bool same_directory(const config::Config& config, const std::string& a, const std::string& b) {
    if (config.get_string(a + "-type") == "s3" || config.get_string(b + "-type") == "s3")
        return false;
    const std::string left = config.get_string(a + "-path");
    const std::string right = config.get_string(b + "-path");
    return repo::lies_in(left, right) && repo::lies_in(right, left);
}

Result<> check_distinct(const config::Config& config) {
    const std::vector<unsigned> keys = config.repo_keys();
    for (std::size_t i = 0; i < keys.size(); ++i)
        for (std::size_t j = 0; j < i; ++j) {
            const std::string a = "repo" + std::to_string(keys[j]);
            const std::string b = "repo" + std::to_string(keys[i]);
            if (location_text(config, a) != location_text(config, b) &&
                !same_directory(config, a, b))
                continue;
            return Error(ErrorKind::option_invalid_value, a + " and " + b +
                                                              " are the same place, '" +
                                                              config.get_string(b + "-path") + "'")
                .with_hint("Give each repository a place of its own, or remove the options of " +
                           b + ".");
        }
    return {};
}

}  // namespace

Result<> check_places(const config::Config& config, const std::string& pg_path) {
    CHRONOS_TRY(check_distinct(config));
    if (pg_path.empty()) return {};
    const std::vector<repo::Place> places = repo::cluster_places(pg_path);
    for (const unsigned key : config.repo_keys())
        if (config.get_string("repo" + std::to_string(key) + "-type") != "s3") {
            const repo::Repository repository = CHRONOS_TRY(open_repository(config, key));
            CHRONOS_TRY(repo::check_repository_place(repository, places));
        }
    return {};
}

}  // namespace chronos::cli
