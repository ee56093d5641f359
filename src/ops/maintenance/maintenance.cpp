#include "chronos/ops/maintenance/maintenance.h"

#include <algorithm>

#include "chronos/base/log.h"
#include "chronos/repo/stanza.h"
#include "chronos/storage/s3/s3_storage.h"

namespace chronos::ops::maintenance {
namespace {

bool belongs_to(const std::string& object, const std::string& stanza) {
    if (stanza.empty()) return true;
    return std::ranges::any_of(
        std::initializer_list<const char*>{"archive/", "backup/", "chronos/"},
        [&](const char* top) { return object.starts_with(top + stanza + "/"); });
}

/// Nothing to do where there is nothing is no success: a file system may not be mounted.
Result<> check_stanza(const repo::Repository& repository, const std::string& stanza) {
    if (stanza.empty() || CHRONOS_TRY(repo::has_stanza(repository, stanza))) return {};
    return Error(ErrorKind::not_found, "there is nothing of stanza '" + stanza + "' in '" +
                                           repository.storage->describe("") + "'")
        .with_hint("Is its disk mounted? stanza-create makes a new stanza.");
}

Result<> tidy(const MaintenanceRequest& request, const repo::Repository& repository,
              const Cancellation& cancel, std::vector<StaleUpload>& found) {
    CHRONOS_TRY(check_stanza(repository, request.stanza));
    storage::MultipartUploads* uploads = repository.storage->uploads();
    if (uploads == nullptr) return {};
    const UnixTime limit = unix_now() - request.upload_age->count();
    for (const storage::PendingUpload& upload : CHRONOS_TRY(uploads->pending())) {
        CHRONOS_TRY(cancel.check());
        if (upload.initiated > limit || !belongs_to(upload.name, request.stanza)) continue;
        if (!request.dry_run) CHRONOS_TRY(uploads->abort(upload));
        found.push_back({repository.key, upload.name, upload.initiated});
    }
    return {};
}

}  // namespace

Result<std::vector<StaleUpload>> run_maintenance(const MaintenanceRequest& request,
                                                 const Cancellation& cancel) {
    std::vector<StaleUpload> found;
    for (const repo::Repository& repository : request.repositories)
        CHRONOS_TRY_DOING(tidy(request, repository, cancel, found),
                          "repo" + std::to_string(repository.key));
    std::ranges::stable_sort(found, {}, &StaleUpload::since);
    return found;
}

}  // namespace chronos::ops::maintenance
