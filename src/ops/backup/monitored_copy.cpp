#include <algorithm>
#include <functional>
#include <mutex>
#include <vector>

#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/pgdata/control_file.h"
#include "ops/backup/copy.h"
#include "ops/backup/monitor.h"
#include "ops/backup/phases.h"

namespace chronos::ops::backup {
namespace {

std::string page_errors_of(const repo::ManifestFile& file, std::uint32_t page_size) {
    if (file.page_error_ranges.empty())
        return "page misalignment in file " + file.name + ": file size " +
               std::to_string(file.size) + " is not divisible by page size " +
               std::to_string(page_size);
    std::vector<std::string> pages;
    for (const auto& [first, last] : file.page_error_ranges)
        pages.push_back(first == last ? std::to_string(first)
                                      : std::to_string(first) + "-" + std::to_string(last));
    const bool one = pages.size() == 1 &&
                     file.page_error_ranges.front().first == file.page_error_ranges.front().second;
    return std::string("invalid page checksum") + (one ? "" : "s") + " found in file " + file.name +
           " at page" + (one ? " " : "s ") + join(pages, ", ");
}

/// Whether they were turned off since the backup began, which betas of 19 can do: pages written
/// since then have none.
bool checksums_are_gone(const std::string& pgdata) {
    const auto control = pgdata::read_control_file(pgdata);
    return control && !control->pages_have_checksums();
}

/// A copy under the eyes of a monitor. Threads copy the files and tell what became of each; that
/// goes into the manifest, which the monitor's thread saves from time to time, so that both hold
/// the mutex. It keeps pace with its companions.
class MonitoredCopy {
public:
    MonitoredCopy(const Scope& scope, Planned& planned)
        : scope_(scope), planned_(planned), monitor_(monitor_settings(), scope.cancel) {}

    /// Once. Bytes read.
    Result<std::uint64_t> run();

private:
    CopySettings copy_settings() const;
    MonitorSettings monitor_settings();
    void note_read(std::uint64_t bytes);
    Result<> take_outcome(const PlannedFile& planned, const CopyOutcome& outcome);
    Result<> take_pages(repo::ManifestFile& file);
    void forget_pages(repo::ManifestFile& file);
    void drop_vanished();

    const Scope& scope_;
    Planned& planned_;
    std::mutex mutex_;  ///< held for the manifest and vanished_
    std::vector<std::size_t> vanished_;
    Monitor monitor_;  // last: its thread uses the others
};

Result<std::uint64_t> MonitoredCopy::run() {
    Result<> copied = copy_files(
        copy_settings(), planned_.jobs, monitor_.cancel(),
        [&](std::uint64_t bytes) { note_read(bytes); },
        [&](const PlannedFile& file, const CopyOutcome& outcome) {
            monitor_.add_file();
            return take_outcome(file, outcome);
        });
    // Why the monitor stopped the copy says more than that it was stopped.
    CHRONOS_TRY(monitor_.finish());
    CHRONOS_TRY(std::move(copied));
    if (scope_.company.companions) scope_.company.companions->copied(scope_.company.member);
    // The manifest is about to be written: several megabytes of a large cluster.
    planned_.jobs = {};
    drop_vanished();
    return monitor_.bytes();
}

CopySettings MonitoredCopy::copy_settings() const {
    const Work& work = planned_.work;
    CopySettings settings;
    settings.repository = &work.request.repository;
    settings.stanza = work.request.stanza;
    settings.blocks = &work.request.block_rules;
    settings.directory = work.directory(planned_.manifest);
    settings.pgdata = work.cluster.pgdata;
    settings.manifest = &planned_.manifest;
    settings.prior = planned_.prior ? &*planned_.prior : nullptr;
    settings.encoding = work.encoding(planned_.manifest);
    settings.gate = planned_.gate.get();
    settings.check_pages = planned_.manifest.options.checksum_page.value_or(false);
    settings.page_header_check = work.request.page_header_check;
    settings.page_size = work.cluster.control.page_size;
    settings.process_max = work.request.process_max;
    settings.stages = &scope_.stages;
    return settings;
}

MonitorSettings MonitoredCopy::monitor_settings() {
    const BackupRequest& request = planned_.work.request;
    MonitorSettings settings;
    settings.totals.phase = "copy";
    settings.totals.files_total = planned_.jobs.files.size();
    for (const PlannedFile& file : planned_.jobs.files) settings.totals.bytes_total += file.size;
    settings.progress = scope_.progress;
    settings.lock = planned_.work.guard.progress_lock;
    settings.connection = scope_.connection;
    settings.standby = planned_.work.cluster.standby();
    settings.stages = &scope_.stages;
    settings.save = [this] { return save_partial(planned_.work, planned_.manifest, mutex_); };
    if (request.resume)
        settings.save_every_bytes = std::max<std::uint64_t>(settings.totals.bytes_total / 100,
                                                            request.manifest_save_threshold);
    return settings;
}

void MonitoredCopy::note_read(std::uint64_t bytes) {
    monitor_.add_bytes(bytes);
    if (scope_.company.companions)
        scope_.company.companions->pace(scope_.company.member, bytes, monitor_.cancel());
}

Result<> MonitoredCopy::take_outcome(const PlannedFile& planned, const CopyOutcome& outcome) {
    const std::lock_guard lock(mutex_);
    repo::ManifestFile& file = planned_.manifest.files[planned.index];
    const std::string& pgdata = planned_.work.cluster.pgdata;
    switch (outcome.kind) {
        case CopyOutcome::Kind::vanished:
            log_detail("skip file removed by database " + source_path(pgdata, file.name));
            vanished_.push_back(planned.index);
            break;
        case CopyOutcome::Kind::unchanged:
            log_detail("match file from prior backup " + source_path(pgdata, file.name));
            refer_to_prior(*planned_.prior, *planned_.prior->find_file(file.name), file);
            break;
        case CopyOutcome::Kind::resumed:
            log_detail("match file from interrupted backup " + source_path(pgdata, file.name));
            if (file.repo_checksum.empty()) file.repo_checksum = outcome.stored.repo_checksum;
            break;
        case CopyOutcome::Kind::stored:
            outcome.stored.apply_to(file);
            if (file.page_error) return take_pages(file);
            break;
    }
    return {};
}

/// Of a file with pages that are not as their checksums say.
Result<> MonitoredCopy::take_pages(repo::ManifestFile& file) {
    const Work& work = planned_.work;
    if (checksums_are_gone(work.cluster.pgdata)) {
        forget_pages(file);
        return {};
    }
    const std::string errors = page_errors_of(file, work.cluster.control.page_size);
    if (work.request.page_errors_stop) return Error(ErrorKind::checksum, errors);
    log_warn(errors);
    return {};
}

void MonitoredCopy::forget_pages(repo::ManifestFile& file) {
    file.page_checked = file.page_error = false;
    file.page_error_ranges = {};
    repo::ManifestOptions& options = planned_.manifest.options;
    if (!*options.checksum_page) return;
    options.checksum_page = false;
    log_warn(
        "page checksums were turned off during the backup: what was written since then has none");
}

void MonitoredCopy::drop_vanished() {
    std::vector<repo::ManifestFile>& files = planned_.manifest.files;
    std::ranges::sort(vanished_, std::greater<>());
    for (const std::size_t index : vanished_)
        files.erase(files.begin() + static_cast<std::ptrdiff_t>(index));
}

Result<std::uint64_t> copy_jobs(const Scope& scope, Planned& planned) {
    CHRONOS_TRY(scope.step("copy"));
    const Stopwatch watch(scope.waits.copy);
    if (planned.manifest.find_file(kControlFile) == nullptr)
        return Error(ErrorKind::not_found, "pg_control must be present in all backups");
    return MonitoredCopy(scope, planned).run();
}

Result<> make_durable(const Scope& scope, const Planned& planned) {
    CHRONOS_TRY(scope.step("sync"));
    const Stopwatch watch(scope.waits.sync);
    return planned.work.storage().sync_tree(planned.work.directory(planned.manifest));
}

}  // namespace

Result<Copied> copy(const Scope& scope, Planned&& planned) {
    const std::uint64_t bytes = CHRONOS_TRY(copy_jobs(scope, planned));
    // From here on nothing may be mentioned that is not durable.
    CHRONOS_TRY(make_durable(scope, planned));
    return Copied{std::move(planned.work), std::move(planned.manifest), std::move(planned.server),
                  std::move(planned.left_out), bytes};
}

}  // namespace chronos::ops::backup
