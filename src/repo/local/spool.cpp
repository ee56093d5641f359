#include "chronos/repo/local/spool.h"

#include <sys/stat.h>

#include <cerrno>
#include <filesystem>
#include <fstream>

namespace chronos::repo {
namespace {

namespace fs = std::filesystem;

std::string stanza_path(const SpoolPlace& place) {
    return place.spool_path + "/chronos/" + place.stanza;
}

/// "-<device>-<inode>-"
Result<std::string> directory_key(const std::string& pg_path) {
    struct stat status = {};
    if (::stat(pg_path.c_str(), &status) != 0)
        return system_error(ErrorKind::file_info, "look at '" + pg_path + "'", errno);
    return "-" + std::to_string(status.st_dev) + "-" + std::to_string(status.st_ino) + "-";
}

Result<std::string> boot_id() {
    std::string id;
    if (std::ifstream("/proc/sys/kernel/random/boot_id") >> id) return id;
    return Error(ErrorKind::file_read, "the start of the machine has no id");
}

Result<> remove_tree(const fs::path& path) {
    std::error_code code;
    fs::remove_all(path, code);
    if (code)
        return system_error(ErrorKind::path_remove, "unable to remove '" + path.string() + "'",
                            code.value());
    return {};
}

}  // namespace

Result<std::string> spool_directory(const SpoolPlace& place, std::uint64_t system_id) {
    return stanza_path(place) + "/" + std::to_string(system_id) +
           CHRONOS_TRY(directory_key(place.pg_path)) + CHRONOS_TRY(boot_id());
}

Result<> remove_spools(const SpoolPlace& place) {
    CHRONOS_TRY(remove_tree(place.spool_path + "/archive/" + place.stanza));
    const auto key = directory_key(place.pg_path);
    if (!key) return {};  // nothing can have been fetched for what does not exist
    std::error_code code;
    for (const fs::directory_entry& entry : fs::directory_iterator(stanza_path(place), code))
        if (entry.path().filename().string().find(*key) != std::string::npos)
            CHRONOS_TRY(remove_tree(entry.path()));
    return {};
}

}  // namespace chronos::repo
