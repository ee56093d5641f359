#include "chronos/ops/mount/mount.h"

#include <pwd.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <memory>
#include <optional>

#include "chronos/base/clock.h"
#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/fuse/session.h"
#include "chronos/pgdata/data_directory.h"
#include "chronos/repo/info.h"
#include "chronos/repo/places.h"
#include "chronos/repo/random_access.h"
#include "chronos/repo/side/mount_hold.h"
#include "ops/mount/content.h"
#include "ops/mount/mount_info.h"
#include "ops/mount/tree.h"

namespace chronos::ops::mount {
namespace {

struct Chosen {
    const repo::Repository* repository = nullptr;
    std::string label;
    std::string pass;  ///< of its manifest
};

std::string repo_name(const repo::Repository& repository) {
    return "repo" + std::to_string(repository.key);
}

/// A repository that cannot be read does not keep the next one from being asked.
Result<Chosen> choose(const MountRequest& request) {
    const bool latest = request.set.empty() || request.set == "latest";
    std::optional<Error> first;
    for (const repo::Repository& repository : request.repositories) {
        const auto info = repo::load_backup_info(repository, request.stanza);
        if (!info) {
            if (request.repositories.size() > 1)
                log_warn(repo_name(repository) + ": " + info.error().text());
            if (!first) first = info.error();
            continue;
        }
        if (latest && !info->backups.empty())
            return Chosen{&repository, info->backups.back().label, info->cipher_pass};
        if (!latest && info->find(request.set) != nullptr)
            return Chosen{&repository, request.set, info->cipher_pass};
    }
    if (first) return *std::move(first);
    return Error(ErrorKind::backup_set_invalid,
                 latest ? "no backup set found to mount"
                        : "backup set " + printable(request.set) + " is not valid")
        .with_hint("Run the info command to see what the repositories hold.");
}

/// The real path of the directory, if something may be mounted there.
Result<std::string> check_place(const MountRequest& request) {
    for (Mount& mount : CHRONOS_TRY(mounts_unasked())) {
        if (mount.path != without_looking(request.path)) continue;
        look_at(mount);
        if (mount.state == Mount::State::dead)
            return Error(ErrorKind::path_not_empty,
                         "'" + request.path + "' is the place of a mount whose process is gone")
                .with_hint("Free it with: chronos mount --finish=" + request.path);
        return Error(ErrorKind::path_not_empty, "backup " + mount.label + " of stanza '" +
                                                    mount.stanza + "' is mounted on '" +
                                                    request.path + "' already")
            .with_hint("End that with: chronos mount --finish=" + request.path);
    }
    struct stat status = {};
    const int error = ::stat(request.path.c_str(), &status) == 0 ? 0 : errno;
    if (error == ENOENT)
        return Error(ErrorKind::path_missing, "directory '" + request.path + "' does not exist")
            .with_hint("Make it with: mkdir -p " + request.path);
    if (error != 0)
        return system_error(ErrorKind::path_open, "look at '" + request.path + "'", error);
    if (!S_ISDIR(status.st_mode))
        return Error(ErrorKind::path_missing, "'" + request.path + "' is no directory")
            .with_hint("Name an empty directory.");
    std::error_code failed;
    const std::string real = std::filesystem::canonical(request.path, failed).string();
    if (failed)
        return system_error(ErrorKind::path_open, "look at '" + request.path + "'", failed.value());
    if (const std::string cluster = pgdata::data_directory_around(real); !cluster.empty())
        return Error(ErrorKind::option_invalid_value,
                     "'" + request.path + "' lies in the data directory '" + cluster + "'")
            .with_hint("A mount in it would become part of its backups: name another directory.");
    for (const auto& [key, repository] : request.repository_paths)
        if (repo::lies_in(real, repository))
            return Error(ErrorKind::option_invalid_value,
                         "'" + request.path + "' lies in the repository '" + repository + "'")
                .with_hint("Name another directory.");
    const bool is_empty = std::filesystem::is_empty(real, failed);
    if (failed)
        return system_error(ErrorKind::path_open, "list '" + request.path + "'", failed.value());
    if (!is_empty)
        return Error(ErrorKind::path_not_empty, "directory '" + request.path + "' is not empty")
            .with_hint("The mount would hide what is in it: name an empty directory.");
    return real;
}

std::string own_name() {
    const passwd* const user = getpwuid(geteuid());
    return user == nullptr ? std::to_string(geteuid()) : user->pw_name;
}

std::string status_text(const Content& content, UnixTime since) {
    const ContentFigures figures = content.figures();
    std::string text;
    const auto add = [&](std::string_view key, const std::string& value) {
        text += std::string(key) + " " + value + "\n";
    };
    add("pid", std::to_string(getpid()));
    add("user", own_name());
    add("since", std::to_string(since));
    add("fetches", std::to_string(figures.fetches));
    add("fetched-bytes", std::to_string(figures.fetched_bytes));
    add("cached-bytes", std::to_string(figures.cached_bytes));
    add("spooled-bytes", std::to_string(figures.spooled_bytes));
    add("failures", std::to_string(figures.failures));
    if (!figures.last_failure.empty()) add("last-failure", printable(figures.last_failure, 1000));
    return text;
}

/// While it lives this thread of root's, and those that it starts, make and change files as the
/// owner of the directory: one of root's in a repository would stop everybody else.
class AsOwnerOf {
public:
    explicit AsOwnerOf(const std::string& directory) {
        struct stat status = {};
        if (geteuid() != 0 || ::stat(directory.c_str(), &status) != 0) return;
        changed_ = true;
        setfsgid(status.st_gid);
        setfsuid(status.st_uid);
    }
    ~AsOwnerOf() {
        if (!changed_) return;
        setfsuid(geteuid());
        setfsgid(getegid());
    }
    AsOwnerOf(const AsOwnerOf&) = delete;
    AsOwnerOf& operator=(const AsOwnerOf&) = delete;

private:
    bool changed_ = false;
};

/// A mount without it works as long as nobody expires the backup.
std::unique_ptr<repo::MountHold> hold(const MountRequest& request, const Chosen& chosen,
                                      const std::string& path) {
    std::optional<AsOwnerOf> owner;
    const auto directory = request.repository_paths.find(chosen.repository->key);
    if (directory != request.repository_paths.end()) owner.emplace(directory->second);
    auto held = repo::MountHold::take(*chosen.repository,
                                      {request.stanza, chosen.label, path, request.exec_id});
    if (held) return *std::move(held);
    log_warn("backup " + chosen.label + " may expire while it is mounted: " + held.error().text());
    return nullptr;
}

}  // namespace

Result<> mount_backup(const MountRequest& request, const Cancellation& cancel) {
    const std::string path = CHRONOS_TRY(check_place(request));
    Chosen chosen = CHRONOS_TRY(choose(request));
    const repo::Repository& repository = *chosen.repository;
    // Held first and looked at then: what is still listed was not being expired.
    const auto held = hold(request, chosen, path);
    const auto manifest = CHRONOS_TRY_DOING(
        repo::load_manifest(repository, request.stanza, chosen.label, chosen.pass),
        "mount backup " + chosen.label);
    CHRONOS_TRY_DOING(repo::validate_manifest(manifest), "mount backup " + chosen.label);

    Content content(repository, request.stanza, manifest,
                    limits_of(request.fetch, *repository.storage));
    const UnixTime since = unix_now();
    Tree tree(manifest, content, /*keep_owners=*/geteuid() == 0,
              [&] { return status_text(content, since); });
    const auto session = CHRONOS_TRY(fuse::Session::mount(
        tree, {path, "chronos:" + repo_name(repository) + ":" + chosen.label + ":" + request.stanza,
               /*for_all_users=*/geteuid() == 0}));
    const std::string line =
        "backup " + chosen.label + " of " + repo_name(repository) + " is mounted on " + path +
        ": " + std::to_string(manifest.files.size()) + " files, " +
        format_size(tree.totals().size_bytes) +
        "; random access: " + repo::random_access_text(repo::random_access(manifest));
    log_info(line);
    if (request.ready) CHRONOS_TRY(request.ready(line));
    CHRONOS_TRY(session->serve(cancel));
    const ContentFigures figures = content.figures();
    log_info("the mount on " + path + " ends: " + format_size(figures.fetched_bytes) + " in " +
             std::to_string(figures.fetches) + " fetches, " + std::to_string(figures.failures) +
             " failures");
    return {};
}

}  // namespace chronos::ops::mount
