#include "chronos/ops/hold/hold.h"

#include <algorithm>
#include <memory>

#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/repo/annotations.h"
#include "chronos/repo/info.h"
#include "chronos/repo/local/lock.h"
#include "chronos/repo/side/hold.h"

namespace chronos::ops::hold {
namespace {

Result<> check_set(const std::string& set) {
    if (set == "latest" || set == "oldest" || set == "all" || repo::is_backup_label(set)) return {};
    return Error(ErrorKind::option_invalid_value,
                 "'" + printable(set) + "' is not a valid backup label format");
}

/// It stands in one line of every list of holds.
Result<> check_reason(const std::string& reason) {
    constexpr std::size_t kReasonSizeMax = 1000;
    CHRONOS_TRY(repo::check_text("the reason of the hold", reason));
    if (reason.size() <= kReasonSizeMax && trim(reason).find('\n') == std::string_view::npos)
        return {};
    return Error(ErrorKind::option_invalid_value,
                 "the reason of the hold cannot be stored: '" + printable(reason, 80) + "'")
        .with_hint("It is one line of at most " + std::to_string(kReasonSizeMax) + " bytes.");
}

Result<std::vector<std::unique_ptr<repo::Lock>>> lock(const HoldRequest& request) {
    std::vector<std::unique_ptr<repo::Lock>> locks;
    for (const unsigned key : request.lock_keys)
        locks.push_back(CHRONOS_TRY(repo::Lock::acquire(
            {request.lock_path, request.stanza, repo::LockType::hold, key, request.exec_id})));
    return locks;
}

/// Those of `labels` (ascending) that `set` means.
std::vector<std::string> chosen(const std::vector<std::string>& labels, const std::string& set) {
    if (set == "all" || labels.empty()) return labels;
    if (set == "latest") return {labels.back()};
    if (set == "oldest") return {labels.front()};
    if (std::find(labels.begin(), labels.end(), set) == labels.end()) return {};
    return {set};
}

}  // namespace

Result<std::vector<HeldBackup>> hold(const HoldRequest& request) {
    CHRONOS_TRY(check_set(request.set));
    CHRONOS_TRY(check_reason(request.reason));
    const auto locks = CHRONOS_TRY(lock(request));
    std::vector<HeldBackup> held;
    for (const repo::Repository& repository : request.repositories) {
        const auto info = CHRONOS_TRY(repo::load_backup_info(repository, request.stanza));
        std::vector<std::string> labels;
        for (const repo::BackupEntry& entry : info.backups) labels.push_back(entry.label);
        for (const std::string& label : chosen(labels, request.set)) {
            const repo::Hold one{label, std::string(trim(request.reason)), unix_now()};
            CHRONOS_TRY(repo::save_hold(repository, request.stanza, one, info.cipher_pass));
            held.push_back({repository.key, label, one.reason, one.since, true});
            log_info("backup " + label + " is held in repo" + std::to_string(repository.key));
        }
    }
    if (held.empty())
        return Error(ErrorKind::backup_set_invalid, "no backup " + request.set + " to hold found")
            .with_hint("Run the info command and confirm the backup is listed.");
    return held;
}

Result<std::vector<HeldBackup>> list(const HoldRequest& request) {
    std::vector<HeldBackup> held;
    for (const repo::Repository& repository : request.repositories) {
        const auto info = CHRONOS_TRY(repo::load_backup_info(repository, request.stanza));
        for (const repo::Hold& one :
             CHRONOS_TRY(repo::list_holds(repository, request.stanza, info.cipher_pass)))
            held.push_back({repository.key, one.label, one.reason, one.since,
                            info.find(one.label) != nullptr});
    }
    return held;
}

Result<std::vector<HeldBackup>> unhold(const HoldRequest& request) {
    CHRONOS_TRY(check_set(request.set));
    const auto locks = CHRONOS_TRY(lock(request));
    std::vector<HeldBackup> released;
    const std::vector<HeldBackup> all = CHRONOS_TRY(list(request));
    for (const repo::Repository& repository : request.repositories) {
        std::vector<std::string> labels;
        for (const HeldBackup& one : all)
            if (one.repo_key == repository.key) labels.push_back(one.label);
        const std::vector<std::string> wanted = chosen(labels, request.set);
        for (const HeldBackup& one : all) {
            if (one.repo_key != repository.key ||
                std::find(wanted.begin(), wanted.end(), one.label) == wanted.end())
                continue;
            CHRONOS_TRY(repo::remove_hold(repository, request.stanza, one.label));
            log_info("backup " + one.label + " is released in repo" +
                     std::to_string(repository.key));
            released.push_back(one);
        }
    }
    if (released.empty())
        return Error(ErrorKind::backup_set_invalid, "backup " + request.set + " is not held");
    return released;
}

}  // namespace chronos::ops::hold
