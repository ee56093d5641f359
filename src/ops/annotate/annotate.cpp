#include "chronos/ops/annotate/annotate.h"

#include <optional>

#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/repo/annotations.h"
#include "chronos/repo/info.h"
#include "chronos/repo/local/lock.h"
#include "chronos/repo/side/lease.h"

namespace chronos::ops::annotate {
namespace {

Result<> check_request(const AnnotateRequest& request) {
    if (request.set != "latest" && !repo::is_backup_label(request.set))
        return Error(ErrorKind::option_invalid_value,
                     "'" + printable(request.set) + "' is not a valid backup label format");
    // What is removed may be whatever somebody else has put there.
    auto added = request.annotations;
    std::erase_if(added, [](const auto& one) { return one.second.empty(); });
    return repo::check_annotations(added);
}

repo::BackupEntry* find(repo::BackupInfo& info, const std::string& set) {
    if (set == "latest") return info.backups.empty() ? nullptr : &info.backups.back();
    for (repo::BackupEntry& entry : info.backups)
        if (entry.label == set) return &entry;
    return nullptr;
}

/// nullopt if the repository does not list the backup.
Result<std::optional<Annotated>> annotate_in(const AnnotateRequest& request,
                                             const repo::Repository& repository) {
    const auto lease =
        CHRONOS_TRY(repo::Lease::take(repository, {request.stanza, "annotate", request.exec_id}));
    auto loaded = CHRONOS_TRY(repo::load_backup_info_reconstructed(repository, request.stanza));
    repo::BackupEntry* entry = find(loaded.info, request.set);
    if (entry == nullptr) return std::optional<Annotated>();
    log_info("backup set '" + entry->label + "' to annotate found in repo" +
             std::to_string(repository.key));
    for (const auto& [key, value] : request.annotations)
        if (value.empty())
            entry->annotations.erase(key);
        else
            entry->annotations[key] = value;
    if (lease) CHRONOS_TRY(lease->prove());
    CHRONOS_TRY(repo::save_backup_info(repository, request.stanza, loaded.info));
    return std::optional(Annotated{repository.key, entry->label, entry->annotations});
}

}  // namespace

Result<AnnotateOutcome> annotate(const AnnotateRequest& request, const Cancellation& cancel) {
    CHRONOS_TRY(check_request(request));
    std::vector<std::unique_ptr<repo::Lock>> locks;
    for (const unsigned key : request.lock_keys)
        locks.push_back(CHRONOS_TRY(repo::Lock::acquire(
            {request.lock_path, request.stanza, repo::LockType::backup, key, request.exec_id})));
    AnnotateOutcome outcome;
    for (const repo::Repository& repository : request.repositories) {
        CHRONOS_TRY(cancel.check());
        auto annotated = annotate_in(request, repository);
        if (!annotated)
            outcome.failures.emplace_back(repository.key, annotated.error());
        else if (*annotated)
            outcome.annotated.push_back(std::move(**annotated));
    }
    if (outcome.annotated.empty() && outcome.failures.empty())
        return Error(ErrorKind::backup_set_invalid, "no backup set to annotate found");
    return outcome;
}

}  // namespace chronos::ops::annotate
