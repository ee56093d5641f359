#include "ops/restore/save_current.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>

#include "chronos/base/log.h"
#include "chronos/os/durable.h"
#include "ops/restore/destination.h"

namespace chronos::ops::restore {
namespace {

namespace fs = std::filesystem;

Error cannot_move(const std::string& path, int error_number) {
    Error error =
        system_error(ErrorKind::file_move, "unable to move '" + path + "' aside", error_number);
    if (error_number != EBUSY && error_number != EXDEV) return error;
    return std::move(error).with_hint(
        "A mount point cannot be renamed: move what is in it by hand, and restore without "
        "--save-current.");
}

/// Behind a link it is the directory that is moved, and an empty one takes its place: else the next
/// would be made where the link is, on another file system than somebody wanted.
Result<std::string> move_aside(const std::string& path, const std::string& name) {
    struct stat status {};
    const bool is_link = lstat(path.c_str(), &status) == 0 && S_ISLNK(status.st_mode);
    std::error_code code;
    const std::string real = is_link ? fs::canonical(path, code).string() : path;
    const std::string target = is_link ? real + name.substr(path.size()) : name;
    if (code || rename(real.c_str(), target.c_str()) != 0)
        return cannot_move(path, code ? code.value() : errno);
    CHRONOS_TRY(os::sync_directory(fs::path(real).parent_path()));
    log_info("moved '" + real + "' aside, to '" + target + "'");
    if (is_link && mkdir(real.c_str(), 0700) != 0)
        return system_error(ErrorKind::path_create, "unable to create path '" + real + "'", errno);
    return target;
}

}  // namespace

Result<> save_current(const std::vector<Destination>& destinations, UnixTime now,
                      std::vector<std::string>& saved) {
    const std::string suffix = ".saved-" + format_label_time(now);
    for (const Destination& destination : destinations) {
        if (!has_content(destination)) continue;
        const std::string path = content_path(destination);
        const std::string name = path + suffix;
        // A rename would put it into a directory of that name, or replace a file.
        struct stat status {};
        if (lstat(name.c_str(), &status) == 0) return cannot_move(path, EEXIST);
        saved.push_back(CHRONOS_TRY(move_aside(path, name)));
    }
    return {};
}

}  // namespace chronos::ops::restore
