#include "chronos/repo/local/stanza_memory.h"

#include <fcntl.h>
#include <unistd.h>

#include <filesystem>

#include "chronos/os/file.h"
#include "chronos/os/local_file.h"

namespace chronos::repo {
namespace {

std::string content_of(const std::string& path) {
    constexpr std::size_t kSizeMax = 65536;
    return os::read_or_empty(path, kSizeMax);
}

/// What lies in a data directory is for nobody but the server.
constexpr mode_t kClusterFileMode = 0600;

bool write(const std::string& path, const std::string& content, mode_t mode) {
    if (!os::make_local_path(std::filesystem::path(path).parent_path())) return false;
    const os::FileDescriptor file =
        os::open_local_file(path, O_WRONLY | O_TRUNC | O_NOFOLLOW, mode);
    return file.valid() && os::write_all(file.get(), content, path);
}

}  // namespace

std::string StanzaMemory::name(const Repository& repository, std::uint64_t system_id) const {
    return "seen-" + std::to_string(system_id) + "-repo" + std::to_string(repository.key);
}

std::string StanzaMemory::spool_file(const Repository& repository, std::uint64_t system_id) const {
    return settings_.spool_path + "/chronos/" + settings_.stanza + "/" +
           name(repository, system_id);
}

std::string StanzaMemory::lock_file(const Repository& repository, std::uint64_t system_id) const {
    return settings_.lock_path + "/chronos-" + settings_.stanza + "-" + name(repository, system_id);
}

std::string StanzaMemory::cluster_file(const Repository& repository,
                                       std::uint64_t system_id) const {
    return settings_.pg_path + "/pg_stat_tmp/chronos-" + settings_.stanza + "-" +
           name(repository, system_id);
}

/// The name of the place is part of it: at another one a stanza may well be missing.
bool StanzaMemory::remembers(const Repository& repository, std::uint64_t system_id) const {
    const std::string place = repository.storage->describe("");
    const auto says = [&](const std::string& base, const std::string& file) {
        return !base.empty() && content_of(file) == place;
    };
    return says(settings_.spool_path, spool_file(repository, system_id)) ||
           says(settings_.lock_path, lock_file(repository, system_id)) ||
           says(settings_.pg_path, cluster_file(repository, system_id));
}

void StanzaMemory::remember(const Repository& repository, std::uint64_t system_id) const {
    if (!repository.storage->features().paths) return;
    const std::string place = repository.storage->describe("");
    const auto keep = [&](const std::string& base, const std::string& file,
                          mode_t mode = os::kLocalFileMode) {
        return !base.empty() && (content_of(file) == place || write(file, place, mode));
    };
    // Not where the directory of a server was just taken away.
    std::error_code failure;
    if (std::filesystem::is_directory(settings_.pg_path + "/pg_stat_tmp", failure))
        (void)keep(settings_.pg_path, cluster_file(repository, system_id), kClusterFileMode);
    if (settings_.spool_path.empty() ||
        keep(settings_.spool_path, spool_file(repository, system_id)))
        return;
    (void)keep(settings_.lock_path, lock_file(repository, system_id));
}

Result<> StanzaMemory::check_first_use(const Repository& repository,
                                       std::uint64_t system_id) const {
    if (!repository.storage->features().paths) return {};
    const std::string place =
        "'" + repository.storage->describe("") + "' of repo" + std::to_string(repository.key);
    const std::string command = "chronos --stanza=" + settings_.stanza + " stanza-create";
    if (!CHRONOS_TRY(repository.storage->info("")).has_value())
        return Error(ErrorKind::path_missing, "repository directory " + place + " does not exist")
            .with_hint("Is its disk mounted? If the repository is to be new, run stanza-create.");
    if (remembers(repository, system_id))
        return Error(ErrorKind::path_missing, "stanza '" + settings_.stanza + "' is not in " +
                                                  place + " any more, where it has been before")
            .with_hint("Is its disk mounted? If the repository is to begin anew, run: " + command);
    return {};
}

}  // namespace chronos::repo
