#include "chronos/ops/backup/backup.h"

#include <algorithm>
#include <mutex>
#include <thread>

#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/pgdata/cluster_files.h"
#include "chronos/pgdata/exclude.h"
#include "chronos/repo/annotations.h"
#include "chronos/repo/local/lock.h"
#include "chronos/repo/manifest_store.h"
#include "chronos/storage/parallel.h"
#include "ops/backup/companions.h"
#include "ops/backup/phases.h"
#include "ops/backup/throughput.h"

namespace chronos::ops::backup {

Result<> Scope::step(const char* phase) const {
    CHRONOS_TRY(cancel.check());
    Progress shown;
    shown.phase = phase;
    if (progress) progress(shown);
    return {};
}

std::string Work::directory(const repo::Manifest& manifest) const {
    return repo::backup_path(request.stanza, manifest.label);
}

repo::Encoding Work::encoding(const repo::Manifest& manifest) const {
    const compress::CompressType type = request.compress_type;
    return repo::set_encoding(
        type, request.compress_level.value_or(compress::default_compress_level(type)),
        manifest.cipher_pass);
}

Result<Opened> open(const Scope& scope, const BackupRequest& request) {
    CHRONOS_TRY(repo::check_annotations(request.annotations));
    CHRONOS_TRY(pgdata::check_excludes(request.exclude));
    CHRONOS_TRY(repo::check_stop_file(request.lock_path, request.stanza));
    Opened opened;
    opened.request = request;
    opened.guard = CHRONOS_TRY(take_guard(request, scope.connection, scope.cancel));
    CHRONOS_TRY(scope.step("start"));
    CHRONOS_TRY(
        storage::at_once(*request.repository.storage,
                         {storage::answer_into(opened.known,
                                               [&] {
                                                   return repo::load_backup_info_reconstructed(
                                                       request.repository, request.stanza);
                                               }),
                          storage::answer_into(opened.archive, [&] {
                              return repo::load_archive_info(request.repository, request.stanza);
                          })}));
    return opened;
}

namespace {

/// The server log has each of them; who counts on one learns it from the job.
std::string tell_what_is_lost(const std::vector<std::string>& dropped) {
    constexpr std::size_t kNamedMax = 3;
    std::string named;
    for (std::size_t i = 0; i < std::min(dropped.size(), kNamedMax); ++i)
        named += (i == 0 ? "" : ", ") + dropped[i];
    if (dropped.size() > kNamedMax)
        named += " and " + std::to_string(dropped.size() - kNamedMax) + " more";
    return named.empty()
               ? ""
               : "not in the repository any more, and taken off the list of backups: " + named +
                     " (one that comes back is listed again by the next backup)";
}

/// Those of files that earlier backups have stored, too: what a restore refuses is all of it.
std::string tell_page_errors(const repo::Manifest& manifest) {
    constexpr std::size_t kNamedMax = 3;
    std::string named;
    std::size_t count = 0;
    for (const repo::ManifestFile& file : manifest.files) {
        if (!file.page_error || !pgdata::has_page_checksums(file.name)) continue;
        if (count < kNamedMax) named += (count == 0 ? "" : ", ") + printable(file.name);
        ++count;
    }
    if (count == 0) return {};
    if (count > kNamedMax) named += " and " + std::to_string(count - kNamedMax) + " more";
    return "pages are damaged in the cluster itself, and so in this backup, which a restore takes "
           "with --no-checksum-page-error only: " +
           named;
}

BackupResult result_of(const Scope& scope, const Published& published) {
    const repo::Manifest& manifest = published.manifest;
    BackupResult result;
    result.entry = repo::backup_entry_of(manifest);
    result.file_total = manifest.files.size();
    const std::string page_errors = tell_page_errors(manifest);
    if (!page_errors.empty()) log_warn(page_errors);
    // First: a job's hint has room for some lines only.
    for (const std::string& part :
         {page_errors, published.left_out, tell_what_is_lost(published.work.known.dropped)})
        if (!part.empty()) result.warning += (result.warning.empty() ? "" : "; ") + part;
    log_info(std::string(repo::backup_type_name(manifest.type)) +
             " backup size = " + format_size(result.entry.size_delta) +
             ", file total = " + std::to_string(result.file_total));
    log_info(throughput_text(published.bytes, scope.stages.times(), scope.waits));
    return result;
}

Result<BackupResult> run_one(const BackupRequest& request, db::Connection* connection,
                             const ProgressReceiver& progress, const Cancellation& cancel,
                             Company company) {
    std::optional<SharedConnection> session;
    if (connection != nullptr) session.emplace(*connection);
    Stages stages;
    Waits waits;
    const Scope scope{session ? &*session : nullptr, progress, cancel, company, stages, waits};
    Opened opened = CHRONOS_TRY(open(scope, request));
    Chosen chosen = CHRONOS_TRY(choose(scope, std::move(opened)));
    Started started = CHRONOS_TRY(start(scope, std::move(chosen)));
    Planned planned = CHRONOS_TRY(plan(scope, std::move(started)));
    Copied copied = CHRONOS_TRY(copy(scope, std::move(planned)));
    Sealed sealed = CHRONOS_TRY(seal(scope, std::move(copied)));
    const Published published = CHRONOS_TRY(publish(scope, std::move(sealed)));
    return result_of(scope, published);
}

/// In a thread of its own, which nothing may leave but a result.
Result<BackupResult> run_member(const BackupRequest& request, db::Connection* connection,
                                const ProgressReceiver& progress, const Cancellation& cancel,
                                Company company) {
    try {
        return run_one(request, connection, progress, cancel, company);
    } catch (const std::bad_alloc&) {
        return Error(ErrorKind::memory, "out of memory");
    } catch (const std::exception& exception) {
        return Error(ErrorKind::internal, exception.what());
    }
}

}  // namespace

Result<BackupResult> run_backup(const BackupRequest& request, db::Connection& connection,
                                const ProgressReceiver& progress, const Cancellation& cancel) {
    return run_one(request, &connection, progress, cancel, {});
}

std::vector<Result<BackupResult>> run_backups(const std::vector<BackupRequest>& requests,
                                              db::Connection* connection,
                                              const ProgressReceiver& progress,
                                              const Cancellation& cancel) {
    if (requests.size() == 1) return {run_one(requests.front(), connection, progress, cancel, {})};
    Companions companions(requests.size());
    std::optional<SharedConnection> shared;
    if (connection != nullptr) shared.emplace(*connection);
    std::vector<Result<BackupResult>> results(
        requests.size(), Result<BackupResult>(Error(ErrorKind::internal, "not begun")));
    std::vector<std::jthread> threads;
    std::mutex progress_mutex;
    for (std::size_t i = 0; i < requests.size(); ++i)
        threads.emplace_back([&, i] {
            const ProgressReceiver show = [&, i](const Progress& state) {
                const std::lock_guard lock(progress_mutex);
                if (progress && companions.leads(i)) progress(state);
            };
            results[i] = run_member(requests[i], shared ? &*shared : nullptr, show, cancel,
                                    {&companions, i});
            companions.leave(i);
        });
    threads.clear();
    return results;
}

}  // namespace chronos::ops::backup
