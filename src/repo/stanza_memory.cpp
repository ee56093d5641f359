#include "chronos/repo/stanza_memory.h"

#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "chronos/io/local_file.h"

namespace chronos::repo {
namespace {

std::string content_of(const std::string& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
}

bool write(const std::string& path, const std::string& content) {
    if (!io::make_local_path(std::filesystem::path(path).parent_path())) return false;
    const io::FileDescriptor file = io::open_local_file(path, O_WRONLY | O_TRUNC | O_NOFOLLOW);
    return file.valid() && ::write(file.get(), content.data(), content.size()) ==
                               static_cast<ssize_t>(content.size());
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

/// The name of the place is part of it: at another one a stanza may well be missing.
bool StanzaMemory::remembers(const Repository& repository, std::uint64_t system_id) const {
    if (settings_.spool_path.empty()) return false;
    const std::string place = repository.storage->describe("");
    return content_of(spool_file(repository, system_id)) == place ||
           (!settings_.lock_path.empty() && content_of(lock_file(repository, system_id)) == place);
}

void StanzaMemory::remember(const Repository& repository, std::uint64_t system_id) const {
    if (settings_.spool_path.empty() || !repository.storage->features().paths ||
        remembers(repository, system_id))
        return;
    const std::string place = repository.storage->describe("");
    if (write(spool_file(repository, system_id), place)) return;
    if (!settings_.lock_path.empty()) (void)write(lock_file(repository, system_id), place);
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
