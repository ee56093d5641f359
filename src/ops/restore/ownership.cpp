#include "ops/restore/ownership.h"

#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <set>

namespace chronos::ops::restore {
namespace {

struct Names {
    std::set<std::string> users, groups;
    bool unnamed_user = false, unnamed_group = false;

    template <class Item>
    void add(const Item& item) {
        if (item.user)
            users.insert(*item.user);
        else
            unnamed_user = true;
        if (item.group)
            groups.insert(*item.group);
        else
            unnamed_group = true;
    }
};

Names names_of(const repo::Manifest& manifest) {
    Names names;
    for (const auto& file : manifest.files) names.add(file);
    for (const auto& path : manifest.paths) names.add(path);
    for (const auto& link : manifest.links) names.add(link);
    return names;
}

std::string user_name(uid_t id) {
    const passwd* entry = getpwuid(id);
    return entry == nullptr ? std::to_string(id) : entry->pw_name;
}

std::string group_name(gid_t id) {
    const group* entry = getgrgid(id);
    return entry == nullptr ? std::to_string(id) : entry->gr_name;
}

}  // namespace

Ownership::Ownership(const repo::Manifest& manifest, const std::string& pg_path)
    : root_(geteuid() == 0) {
    struct stat status {};
    if (stat(pg_path.c_str(), &status) == 0) fallback_ = {status.st_uid, status.st_gid};
    const Names names = names_of(manifest);
    for (const std::string& name : names.users)
        if (const passwd* entry = getpwnam(name.c_str())) users_[name] = entry->pw_uid;
    for (const std::string& name : names.groups)
        if (const group* entry = getgrnam(name.c_str())) groups_[name] = entry->gr_gid;
    adopt_owner(manifest);
    collect_warnings(manifest);
}

/// An empty directory that root has made says nothing: whoever owns most of the backup does.
void Ownership::adopt_owner(const repo::Manifest& manifest) {
    if (fallback_.user != 0) return;
    std::map<uid_t, std::pair<std::size_t, gid_t>> counts;
    for (const repo::ManifestFile& file : manifest.files) {
        if (!file.user) continue;
        const auto user = users_.find(*file.user);
        if (user == users_.end() || user->second == 0) continue;
        auto& [count, group] = counts[user->second];
        ++count;
        if (file.group)
            if (const auto known = groups_.find(*file.group); known != groups_.end())
                group = known->second;
    }
    std::size_t most = 0;
    for (const auto& [user, item] : counts)
        if (item.first > most) {
            most = item.first;
            fallback_ = {user, item.second};
        }
}

void Ownership::collect_warnings(const repo::Manifest& manifest) {
    const Names names = names_of(manifest);
    const std::string user = "unknown user";
    const std::string group = "unknown group";
    const std::string mapped = " in backup manifest mapped to ";
    if (root_) {
        if (names.unnamed_user)
            warnings_.push_back(user + mapped + "'" + user_name(fallback_.user) + "'");
        for (const std::string& name : names.users) {
            const auto known = users_.find(name);
            if (known == users_.end())
                warnings_.push_back(user + " '" + name + "'" + mapped + "'" +
                                    user_name(fallback_.user) + "'");
            else if (known->second == 0 && fallback_.user != 0)
                warnings_.push_back("user '" + name + "'" + mapped + "'" +
                                    user_name(fallback_.user) + "'");
        }
        for (const std::string& name : names.groups)
            if (!groups_.contains(name))
                warnings_.push_back(group + " '" + name + "'" + mapped + "'" +
                                    group_name(fallback_.group) + "'");
        if (names.unnamed_group)
            warnings_.push_back(group + mapped + "'" + group_name(fallback_.group) + "'");
        return;
    }
    for (const std::string& name : names.users)
        if (name != user_name(geteuid()))
            warnings_.push_back(user + " '" + name + "'" + mapped + "current user");
    for (const std::string& name : names.groups)
        if (name != group_name(getegid()))
            warnings_.push_back(group + " '" + name + "'" + mapped + "current group");
}

std::optional<Owner> Ownership::owner_of(const repo::OwnerName& user,
                                         const repo::OwnerName& group) const {
    if (!root_) return std::nullopt;
    Owner owner = fallback_;
    // A server cannot use what belongs to root, so that nothing of a cluster does: neither a name
    // that this system does not know nor one that says root.
    if (user)
        if (const auto known = users_.find(*user); known != users_.end() && known->second != 0)
            owner.user = known->second;
    if (group)
        if (const auto known = groups_.find(*group); known != groups_.end())
            owner.group = known->second;
    return owner;
}

void bound_modes(repo::Manifest& manifest) {
    constexpr mode_t kPermissions = 0777;
    for (repo::ManifestFile& file : manifest.files)
        file.mode = (file.mode & kPermissions) | S_IRUSR;
    // What is in a directory comes after it; what was backed up could be read.
    for (repo::ManifestPath& path : manifest.paths)
        path.mode = (path.mode & kPermissions) | S_IRWXU;
}

}  // namespace chronos::ops::restore
