#include "pgdata/unreadable.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "chronos/base/text.h"
#include "pgdata/owner_names.h"

namespace chronos::pgdata {
namespace {

constexpr std::size_t kShownMax = 10;

std::vector<gid_t> groups_of_process() {
    std::vector<gid_t> groups(static_cast<std::size_t>(std::max(0, ::getgroups(0, nullptr))));
    const int count = ::getgroups(static_cast<int>(groups.size()), groups.data());
    groups.resize(static_cast<std::size_t>(std::max(0, count)));
    groups.push_back(::getegid());
    return groups;
}

std::string owner_and_mode(const struct stat& stat) {
    char mode[8];
    std::snprintf(mode, sizeof mode, "%04o", static_cast<unsigned>(stat.st_mode & 07777));
    OwnerNames owners;
    const OwnerName name = owners.user(stat.st_uid);
    return " (owner " + (name ? printable(*name) : std::to_string(stat.st_uid)) + ", mode " + mode +
           ")";
}

}  // namespace

Unreadable::Unreadable() : user_(::geteuid()), groups_(groups_of_process()) {}

bool Unreadable::mode_permits(const struct stat& stat) const {
    if (stat.st_uid == user_) return (stat.st_mode & S_IRUSR) != 0;
    if (std::ranges::find(groups_, stat.st_gid) != groups_.end())
        return (stat.st_mode & S_IRGRP) != 0;
    return (stat.st_mode & S_IROTH) != 0;
}

void Unreadable::judge(int directory_fd, const std::string& file_name, const std::string& path,
                       const struct stat& stat) {
    if (mode_permits(stat)) return;
    // An access control list, or being root where that counts, permits what the mode does not.
    if (::faccessat(directory_fd, file_name.c_str(), R_OK, AT_EACCESS) == 0 || errno != EACCES)
        return;
    add(path, &stat);
}

void Unreadable::add(const std::string& path, const struct stat* stat) {
    if (stat == nullptr || !S_ISDIR(stat->st_mode)) has_files_ = true;
    if (++count_ > kShownMax) return;
    shown_.push_back("'" + printable(path) + "'" + (stat ? owner_and_mode(*stat) : ""));
}

Result<> Unreadable::verdict() const {
    if (count_ == 0) return {};
    std::string message = "unable to read what the backup must contain: " + join(shown_, ", ");
    if (count_ > kShownMax) message += " and " + std::to_string(count_ - kShownMax) + " more";
    OwnerNames owners;
    const OwnerName user = owners.user(user_);
    return Error(has_files_ ? ErrorKind::file_open : ErrorKind::path_open, std::move(message))
        .with_hint("The backup runs as user '" + (user ? printable(*user) : std::to_string(user_)) +
                   "', who must be able to read every file of the cluster: change their owner or"
                   " mode, move what is not PostgreSQL's out of the data directory, or name it in"
                   " the option exclude.");
}

}  // namespace chronos::pgdata
