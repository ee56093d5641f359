#include "pgdata/link_targets.h"

#include <filesystem>
#include <string_view>

#include "chronos/base/text.h"

namespace chronos::pgdata {
namespace {

/// Strictly below.
bool is_below(std::string_view path, std::string_view directory) {
    if (directory == "/") return path.size() > 1;
    return path.size() > directory.size() && path.starts_with(directory) &&
           path[directory.size()] == '/';
}

std::string full_path(const LinkTarget& target) {
    return target.file.empty() ? target.directory : target.directory + "/" + target.file;
}

Error conflict(const LinkTarget& target, std::string_view relation, const LinkTarget& other) {
    return Error(ErrorKind::link_destination,
                 "link '" + printable(target.name) + "' (" + printable(full_path(target)) +
                     ") destination is " + std::string(relation) + " link '" +
                     printable(other.name) + "' (" + printable(full_path(other)) + ")")
        .with_hint(
            "Each link needs a destination of its own. Remove one of them, or leave it out of"
            " backups with the option exclude.");
}

Result<> check_pair(const LinkTarget& target, const LinkTarget& other) {
    const bool both_files = !target.file.empty() && !other.file.empty();
    const bool both_directories = target.file.empty() && other.file.empty();
    // Links to files may share a directory; one to a file and one to its directory may not.
    if (target.directory == other.directory) {
        if (!both_files) return conflict(target, "the same directory as", other);
        if (target.file == other.file) return conflict(target, "the same file as", other);
    }
    if (both_directories && is_below(target.directory, other.directory))
        return conflict(target, "a subdirectory of", other);
    if (both_directories && is_below(other.directory, target.directory))
        return conflict(other, "a subdirectory of", target);
    return {};
}

}  // namespace

std::string absolute_destination(const std::string& link_path, const std::string& destination) {
    const std::filesystem::path parent = std::filesystem::path(link_path).parent_path();
    // An absolute destination replaces the left side of '/'.
    std::string result = (parent / destination).lexically_normal().string();
    while (result.size() > 1 && result.ends_with('/')) result.pop_back();
    return result;
}

Result<> LinkTargets::add(LinkTarget target) {
    if (target.directory == pgdata_ || is_below(target.directory, pgdata_))
        return Error(ErrorKind::link_destination,
                     "link '" + printable(target.name) + "' destination '" +
                         printable(target.directory) + "' is in PGDATA")
            .with_hint(
                "It is backed up where it is. Remove the link, or leave it out of backups"
                " with the option exclude.");
    for (const LinkTarget& other : targets_) CHRONOS_TRY(check_pair(target, other));
    targets_.push_back(std::move(target));
    return {};
}

}  // namespace chronos::pgdata
