#include "chronos/base/directory_identity.h"

#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>

#include <fstream>

#include "chronos/base/text.h"

namespace chronos {
namespace {

/// Of file systems of users, and their roots.
constexpr long kUserFileSystem = 0x65735546;
constexpr ino_t kUserRoot = 1;

/// What is served there says it itself.
bool take_below(const std::string& path, DirectoryIdentity& identity) {
    std::ifstream status(path + "/" + std::string(kMountStatusName));
    for (std::string line; std::getline(status, line);) {
        const auto parts = split(line, ' ');
        if (parts.size() != 4 || parts[0] != kBelowWord) continue;
        const auto device = parse_uint(parts[1]);
        const auto inode = parse_uint(parts[2]);
        const auto file_system = parse_uint(parts[3]);
        if (!device || !inode || !file_system) return false;
        identity.device = *device;
        identity.inode = *inode;
        identity.file_system = *file_system;
        return true;
    }
    return false;
}

}  // namespace

std::optional<DirectoryIdentity> identify_directory(const std::string& path) {
    struct stat status = {};
    struct statfs kind = {};
    struct statvfs file_system = {};
    if (::stat(path.c_str(), &status) != 0) return std::nullopt;
    DirectoryIdentity identity{status.st_dev, status.st_ino, 0, status.st_uid};
    if (status.st_ino == kUserRoot && ::statfs(path.c_str(), &kind) == 0 &&
        kind.f_type == kUserFileSystem && take_below(path, identity))
        return identity;
    if (::statvfs(path.c_str(), &file_system) != 0) return std::nullopt;
    identity.file_system = file_system.f_fsid;
    return identity;
}

std::string below(int directory) {
    struct stat status = {};
    struct statvfs file_system = {};
    if (::fstat(directory, &status) != 0 || ::fstatvfs(directory, &file_system) != 0) return "";
    return std::to_string(status.st_dev) + " " + std::to_string(status.st_ino) + " " +
           std::to_string(file_system.f_fsid);
}

}  // namespace chronos
