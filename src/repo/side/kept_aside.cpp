#include "chronos/repo/side/kept_aside.h"

#include "chronos/base/text.h"

namespace chronos::repo {
namespace {

std::string kept_aside_path(const std::string& stanza, const std::string& archive_id) {
    return "chronos/" + stanza + "/conflict/" + archive_id;
}

}  // namespace

std::string kept_aside_object(const std::string& stanza, const std::string& archive_id,
                              const std::string& name, const std::string& checksum,
                              std::string_view extension) {
    return kept_aside_path(stanza, archive_id) + "/" + name + "-" + checksum +
           std::string(extension);
}

Result<std::vector<KeptAside>> list_kept_aside(const Repository& repository,
                                               const std::string& stanza,
                                               const std::string& archive_id) {
    const std::string path = kept_aside_path(stanza, archive_id);
    std::vector<KeptAside> found;
    for (const storage::Entry& entry : CHRONOS_TRY(repository.storage->list(path))) {
        const std::size_t end = entry.name.find('-');
        if (end == std::string::npos) continue;
        found.push_back({entry.name.substr(0, end), path + "/" + entry.name, entry.modified});
    }
    return found;
}

}  // namespace chronos::repo
