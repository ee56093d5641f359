#include "chronos/repo/side_files.h"

#include "chronos/base/text.h"
#include "chronos/storage/storage.h"

namespace chronos::repo {

Result<> check_side_file(const Repository& repository, std::string_view object) {
    constexpr std::string_view kArea = "chronos/";
    storage::Storage& storage = *repository.storage;
    if (!object.starts_with(kArea) || !storage.features().paths) return {};
    const std::string stanza(split(object, '/').at(1));
    for (const std::string& path : {archive_path(stanza), backup_path(stanza)})
        if (CHRONOS_TRY(storage.info(path))) return {};
    return Error(ErrorKind::path_missing, "'" + storage.describe(std::string(object)) +
                                              "' is not written, because nothing of stanza '" +
                                              stanza + "' is in the directory of repo" +
                                              std::to_string(repository.key))
        .with_hint("Is its disk mounted?")
        .as_transient();
}

Result<> write_side_file(const Repository& repository, const std::string& object,
                         std::string_view content) {
    CHRONOS_TRY(check_side_file(repository, object));
    return storage::write_object(*repository.storage, object, content);
}

}  // namespace chronos::repo
