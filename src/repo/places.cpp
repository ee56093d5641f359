#include "chronos/repo/places.h"

#include <sys/stat.h>

#include <filesystem>
#include <optional>

namespace chronos::repo {
namespace {

namespace fs = std::filesystem;

fs::path real_path(const std::string& path) {
    std::error_code failure;
    fs::path real = fs::weakly_canonical(path, failure);
    return failure ? fs::path(path).lexically_normal() : real;
}

std::optional<struct stat> look_at(const fs::path& path) {
    struct stat status = {};
    if (::stat(path.c_str(), &status) != 0) return std::nullopt;
    return status;
}

void add_link(const fs::path& link, const std::string& what, std::vector<Place>& places) {
    std::error_code failure;
    if (!fs::is_symlink(link, failure) || !fs::is_directory(link, failure)) return;
    const fs::path target = fs::canonical(link, failure);
    if (!failure) places.push_back({what, target});
}

Error misplaced(const Repository& repository, const std::string& how, const std::string& why) {
    const std::string option = "repo" + std::to_string(repository.key) + "-path";
    return Error(ErrorKind::option_invalid_value,
                 option + " '" + repository.storage->describe("") + "' " + how + ": " + why)
        .with_hint(
            "Move the repository to a directory of its own, on another disk if there is"
            " one, and set " +
            option + " to that.");
}

}  // namespace

std::vector<Place> cluster_places(const std::string& pg_path) {
    std::vector<Place> places{{"data directory", pg_path}};
    std::error_code failure;
    for (const auto& entry : fs::directory_iterator(pg_path, failure))
        add_link(entry.path(), "'" + entry.path().filename().string() + "' of the data directory",
                 places);
    for (const auto& entry : fs::directory_iterator(pg_path + "/pg_tblspc", failure))
        add_link(entry.path(), "tablespace " + entry.path().filename().string(), places);
    return places;
}

bool lies_in(const std::string& path, const std::string& directory) {
    const fs::path wanted = real_path(directory);
    const auto wanted_status = look_at(wanted);
    for (fs::path at = real_path(path);; at = at.parent_path()) {
        if (at == wanted) return true;
        // The same directory may be mounted at two places.
        if (const auto status = look_at(at); status && wanted_status &&
                                             status->st_dev == wanted_status->st_dev &&
                                             status->st_ino == wanted_status->st_ino)
            return true;
        if (at == at.parent_path()) return false;
    }
}

Result<> check_repository_place(const Repository& repository, const std::vector<Place>& places) {
    if (!repository.storage->features().paths) return {};
    const std::string root = repository.storage->describe("");
    for (const Place& place : places) {
        if (place.path.empty()) continue;
        const std::string name = "the " + place.what + " '" + place.path + "'";
        if (lies_in(root, place.path))
            return misplaced(repository, "lies in " + name,
                             "every backup would hold the ones before it, and a restore would"
                             " delete what it reads");
        if (lies_in(place.path, root))
            return misplaced(repository, "holds " + name,
                             "the cluster would be lost with its backups, and they would be in"
                             " each other's way");
    }
    return {};
}

}  // namespace chronos::repo
