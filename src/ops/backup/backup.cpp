#include "chronos/ops/backup/backup.h"

#include <algorithm>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "chronos/base/log.h"
#include "chronos/base/memory.h"
#include "chronos/base/text.h"
#include "chronos/crypto/cipher.h"
#include "chronos/db/config_places.h"
#include "chronos/db/server.h"
#include "chronos/pgdata/cluster_files.h"
#include "chronos/pgdata/exclude.h"
#include "chronos/pgdata/wal.h"
#include "chronos/repo/annotations.h"
#include "chronos/repo/local/lock.h"
#include "chronos/repo/manifest_store.h"
#include "chronos/repo/places.h"
#include "chronos/repo/side/lease.h"
#include "chronos/repo/side/outside_config.h"
#include "chronos/repo/side/owner.h"
#include "chronos/storage/parallel.h"
#include "ops/backup/clock_gate.h"
#include "ops/backup/companions.h"
#include "ops/backup/copy.h"
#include "ops/backup/label.h"
#include "ops/backup/listing.h"
#include "ops/backup/monitor.h"
#include "ops/backup/plan.h"
#include "ops/backup/prior.h"
#include "ops/backup/publish.h"
#include "ops/backup/resume.h"
#include "ops/backup/server_side.h"
#include "ops/backup/stock.h"
#include "ops/backup/throughput.h"
#include "ops/backup/wal.h"
#include "ops/backup/witness.h"

namespace chronos::ops::backup {
namespace {

constexpr mode_t kLabelModeMask = 0644;

/// The place of a backup among those that are made at the same time; null: it is alone.
struct Company {
    Companions* companions = nullptr;
    std::size_t member = 0;
};

/// A backup in the making. Each step leaves a valid repository behind it; their order, in
/// run_backup(), is the proof that a backup which can be seen is whole.
class Run {
public:
    Run(BackupRequest request, db::Connection& connection, ProgressReceiver progress,
        const Cancellation& cancel, Company company)
        : request_(std::move(request)),
          connection_(connection),
          progress_(std::move(progress)),
          cancel_(cancel),
          company_(company) {}
    ~Run() {
        if (!server_.empty()) db::release_backup_lock(connection_);
    }
    Run(const Run&) = delete;
    Run& operator=(const Run&) = delete;

    Result<> take_locks();
    Result<> load_infos();
    Result<> look_at_cluster();
    Result<> choose_prior();
    Result<> start_on_server();
    Result<> prove_archiving();
    Result<> list_files();
    Result<> choose_label();
    Result<> plan_copy();
    Result<> prepare_directory();
    Result<> copy_files();
    Result<> make_durable();
    Result<> stop_on_server();
    Result<> store_labels();
    Result<> wait_for_wal();
    Result<> complete_manifest();
    Result<> publish();
    Result<> prove_directory();
    BackupResult result() const;

private:
    storage::Storage& storage() { return *request_.repository.storage; }
    std::string directory() const { return repo::backup_path(request_.stanza, manifest_.label); }
    StoreForm store_form() const;
    Publication publication() const {
        return {request_.repository, request_.stanza, info_.cipher_pass, request_.symlink};
    }
    Result<> step(const char* phase);
    void fill_options();
    Result<EndedBackup> end_on_server();
    void list_database(const db::Database& database);
    Result<> make_paths();
    Result<> save_partial();
    CopySettings copy_settings();
    MonitorSettings monitor_settings();
    Result<> take_outcome(const PlannedFile& planned, const CopyOutcome& outcome);
    void drop_vanished();
    bool checksums_are_gone() const;
    void forget_pages(repo::ManifestFile& file);
    std::string page_errors_of(const repo::ManifestFile& file) const;
    Result<> note(const std::string& name) {
        return witness_.note(storage(), directory() + "/" + name);
    }
    Result<> prove_ours();
    Result<> reload_info();
    Result<> touch_archive_info();
    void find_configuration();
    void keep_configuration();
    Result<> store_text(const std::string& name, const std::string& content);
    void add_entry(repo::ManifestFile file);

    BackupRequest request_;
    SharedConnection connection_;
    ProgressReceiver progress_;
    const Cancellation& cancel_;
    const Company company_;

    std::vector<std::unique_ptr<repo::Lock>> locks_;
    repo::Lock* progress_lock_ = nullptr;
    std::string server_;  ///< whose backup lock is held
    std::unique_ptr<repo::Lease> lease_;
    Witness witness_;
    repo::ReconstructedInfo known_;  ///< as it was at the start
    repo::BackupInfo& info_ = known_.info;
    repo::ArchiveInfo archive_;
    Cluster cluster_;
    repo::OutsideConfig outside_;  ///< configuration that lies outside of the data directory
    std::optional<repo::Manifest> prior_;
    std::optional<repo::Manifest> resumed_;  ///< an interrupted backup that this one goes on with
    StartedBackup started_;
    db::ServerTime listed_at_;
    std::optional<ClockGate> gate_;  ///< from the time of the list on
    std::string left_out_;
    CopyPlan plan_;
    std::mutex manifest_mutex_;  ///< held for manifest_ and vanished_ while files are copied
    repo::Manifest manifest_;
    std::vector<std::size_t> vanished_;
    db::StoppedBackup stopped_;
    std::vector<repo::ArchivedSegment> wal_;
    Stages stages_;
    Waits waits_;
    std::uint64_t copied_bytes_ = 0;
};

Result<> Run::step(const char* phase) {
    CHRONOS_TRY(cancel_.check());
    Progress progress;
    progress.phase = phase;
    if (progress_) progress_(progress);
    return {};
}

/// Others than backups hold the lock for a moment: an archiver that makes the stanza, an
/// annotation.
Result<std::unique_ptr<repo::Lock>> acquire_soon(const repo::LockRequest& request,
                                                 const Cancellation& cancel) {
    constexpr std::chrono::seconds kPatience(1);
    constexpr std::chrono::milliseconds kPause(50);
    const Deadline deadline(kPatience);
    for (;;) {
        auto lock = repo::Lock::acquire(request);
        if (lock || lock.error().kind() != ErrorKind::lock_acquire || deadline.passed())
            return lock;
        CHRONOS_TRY(cancel.sleep(kPause));
    }
}

Result<> Run::take_locks() {
    CHRONOS_TRY(repo::check_annotations(request_.annotations));
    CHRONOS_TRY(pgdata::check_excludes(request_.exclude));
    CHRONOS_TRY(repo::check_stop_file(request_.lock_path, request_.stanza));
    for (const unsigned key : request_.lock_keys) {
        locks_.push_back(CHRONOS_TRY(acquire_soon(
            {request_.lock_path, request_.stanza, repo::LockType::backup, key, request_.exec_id},
            cancel_)));
        if (key == request_.repository.key) progress_lock_ = locks_.back().get();
    }
    // Others may have other lock files: what they share is the server, and the repository.
    server_ = CHRONOS_TRY(db::take_backup_lock(connection_, cancel_));
    lease_ = CHRONOS_TRY(repo::Lease::take(request_.repository,
                                           {request_.stanza, "backup", request_.exec_id, server_}));
    return {};
}

Result<> Run::load_infos() {
    CHRONOS_TRY(step("start"));
    return storage::at_once(
        storage(), {storage::answer_into(known_,
                                         [&] {
                                             return repo::load_backup_info_reconstructed(
                                                 request_.repository, request_.stanza);
                                         }),
                    storage::answer_into(archive_, [&] {
                        return repo::load_archive_info(request_.repository, request_.stanza);
                    })});
}

Result<> Run::look_at_cluster() {
    cluster_ = CHRONOS_TRY(backup::look_at_cluster(request_, connection_, info_.current()));
    find_configuration();
    const repo::HistoryEntry& archive = archive_.current();
    if (archive.id == info_.current_id && archive.same_cluster(info_.current()))
        return repo::StanzaOwner(request_.repository, request_.stanza)
            .use(CHRONOS_TRY(repo::identify_server(cluster_.pgdata)), repo::StanzaUse::change);
    return Error(ErrorKind::file_invalid, "backup info file and archive info file do not match")
        .with_hint("This may be a symptom of repository corruption.")
        .with_hint(repo::repair_hint(request_.stanza));
}

// Debian's pg_createcluster puts it elsewhere. No backup depends on it: what goes wrong is a
// warning.
void Run::find_configuration() {
    const auto places = db::config_places(connection_);
    if (!places) return;
    std::vector<std::string> unread;
    outside_ = repo::find_outside_config(*places, cluster_.pgdata, unread);
    for (const std::string& path : unread)
        log_warn("configuration file '" + printable(path) +
                 "' lies outside of the data directory and cannot be read: it is in no backup");
}

void Run::keep_configuration() {
    const repo::Repository& repository = request_.repository;
    Result<> kept;
    if (!outside_.empty())
        kept = repo::save_outside_config(repository, request_.stanza, manifest_.label, outside_,
                                         info_.cipher_pass);
    std::vector<std::string> labels{manifest_.label};
    for (const repo::BackupEntry& entry : info_.backups) labels.push_back(entry.label);
    if (kept) kept = repo::remove_outside_configs(repository, request_.stanza, labels);
    if (!kept)
        log_warn("unable to keep the configuration beside the backup: " + kept.error().message());
}

Result<> Run::choose_prior() {
    prior_ = CHRONOS_TRY(backup::choose_prior(request_, info_));
    manifest_.backrest_version = repo::kFormatVersion;
    if (prior_) {
        CHRONOS_TRY(drop_lost_files(request_.repository, request_.stanza, *prior_));
        inherit_options(*prior_, request_);
        manifest_.prior = prior_->label;
        manifest_.references = prior_->references;
        manifest_.bundle_raw = prior_->bundle_raw;
        manifest_.cipher_pass = prior_->cipher_pass;
    } else {
        request_.type = repo::BackupType::full;
        if (request_.repository.encrypted()) manifest_.cipher_pass = crypto::generate_passphrase();
    }
    manifest_.type = request_.type;
    manifest_.bundle = request_.bundle;
    manifest_.block_incr = request_.bundle && request_.block;
    // What a full backup decides holds for all that refer to it.
    if (!prior_) manifest_.bundle_raw = manifest_.block_incr;
    resumed_ = CHRONOS_TRY(find_resumable(
        request_.repository, request_.stanza, known_,
        {request_.resume, request_.type, request_.compress_type,
         repo::timeline_history_object(request_.stanza, archive_.current().archive_id(),
                                       cluster_.control.current_timeline())}));
    if (resumed_) manifest_.cipher_pass = resumed_->cipher_pass;
    fill_options();
    return {};
}

// A checksum-page of "yes" for a cluster without checksums would find every page bad.
void Run::fill_options() {
    const bool has_checksums = cluster_.control.pages_have_checksums();
    bool checksum_page = request_.checksum_page.value_or(has_checksums);
    if (checksum_page && !has_checksums) {
        log_warn(
            "checksum-page option set to true but checksums are not enabled on the cluster,"
            " resetting to false");
        checksum_page = false;
    }
    repo::ManifestOptions& options = manifest_.options;
    options.archive_check = request_.archive_check;
    options.archive_copy = request_.archive_copy;
    options.checksum_page = checksum_page;
    options.compress_type = request_.compress_type;
    options.delta = request_.delta;
    options.online = true;
}

Result<> Run::start_on_server() {
    const Stopwatch watch(waits_.checkpoint);
    const auto enter = [this] { return backup::start_on_server(request_, connection_, cluster_); };
    started_ = CHRONOS_TRY(company_.companions ? company_.companions->start(enter) : enter());
    manifest_.timestamp_start = started_.timestamp;
    return {};
}

// Hours of copying are in vain if the WAL that makes the copy consistent never arrives.
Result<> Run::prove_archiving() {
    if (!request_.archive_check) return {};
    CHRONOS_TRY(step("wal"));
    const Stopwatch watch(waits_.wal);
    const bool prior_segment = started_.proof_segment != started_.segment;
    log_info(std::string("check archive for ") + (prior_segment ? "prior " : "") + "segment " +
             started_.proof_segment);
    CHRONOS_TRY(repo::wait_for_archived_segment(
        request_.repository, request_.stanza, archive_.current().archive_id(),
        started_.proof_segment, request_.archive_timeout, cancel_));
    return {};
}

Result<> Run::list_files() {
    CHRONOS_TRY(step("list"));
    const Listing listing = CHRONOS_TRY(list_for_backup(request_, cluster_, connection_));
    left_out_ = listing.left_out;
    std::vector<repo::Place> places;
    for (const pgdata::ClusterLink& link : listing.list.links)
        if (!link.to_file)
            places.push_back({"link", cluster_.pgdata + link.name.substr(link.name.find('/'))});
    CHRONOS_TRY(repo::check_repository_place(request_.repository, places));
    release_free_memory();  // the manifest is about to be made, beside the prior's
    listed_at_ = CHRONOS_TRY(db::server_time(connection_));
    gate_.emplace(connection_, listed_at_);
    // When files of the second of the list are copied; others have times that are as good earlier.
    manifest_.timestamp_copy_start = listed_at_.second + 1;
    manifest_.pg_version = cluster_.control.version;
    manifest_.catalog_version = cluster_.control.catalog_version;
    manifest_.control_version = cluster_.control.control_version;
    return describe_cluster(listing.list, cluster_.pgdata, listing.tablespaces, manifest_);
}

Result<> Run::choose_label() {
    if (resumed_) {
        manifest_.label = resumed_->label;
        manifest_.references.push_back(manifest_.label);
        return {};
    }
    const std::string known = known_.labels.empty() ? "" : known_.labels.back();
    manifest_.label = CHRONOS_TRY(make_label(request_.repository, request_.stanza, request_.type,
                                             manifest_.prior, started_.timestamp, known, cancel_));
    manifest_.references.push_back(manifest_.label);
    return {};
}

Result<> Run::plan_copy() {
    const repo::Manifest* prior = prior_ ? &*prior_ : nullptr;
    if (!manifest_.options.delta) {
        auto reason = reason_for_delta(manifest_, prior, listed_at_.second);
        if (!reason && prior != nullptr && !prior->archive_stop.empty() &&
            pgdata::timeline_of_segment(prior->archive_stop) != started_.timeline)
            reason = "a timeline switch has occurred since the " + prior->label +
                     " backup, enabling delta checksum";
        if (!reason && prior != nullptr && !prior->options.online)
            reason = "the online option has changed since the " + prior->label +
                     " backup, enabling delta checksum";
        if (reason) log_warn(*reason);
        manifest_.options.delta = reason.has_value();
    }
    const auto rules = request_.bundle
                           ? std::optional(BundleRules{request_.bundle_size, request_.bundle_limit})
                           : std::nullopt;
    std::vector<PlannedFile> files = plan_files(prior, manifest_);
    if (resumed_)
        CHRONOS_TRY(
            keep_stored_files(request_.repository, request_.stanza, *resumed_, manifest_, files));
    resumed_.reset();
    if (prior_) keep_planned(files, manifest_, *prior_);
    plan_ = arrange(std::move(files), manifest_, rules);
    hold_new_files(plan_, manifest_, settled_before(manifest_, listed_at_));
    return {};
}

StoreForm Run::store_form() const {
    return {
        request_.compress_type,
        request_.compress_level.value_or(compress::default_compress_level(request_.compress_type)),
        manifest_.cipher_pass};
}

Result<> Run::prepare_directory() {
    // Before hours of copying: what cannot be read back now will not at the end.
    CHRONOS_TRY_DOING(repo::prove_manifest(manifest_), "prepare the manifest");
    if (request_.resume) CHRONOS_TRY(save_partial());
    // A full backup on a file system can be read without us: every directory is there, and every
    // tablespace where a cluster has it. One with bundles cannot.
    const bool readable = request_.type == repo::BackupType::full && !manifest_.bundle;
    if (!readable || !storage().features().paths) return {};
    return make_paths();
}

Result<> Run::make_paths() {
    for (const repo::ManifestPath& path : manifest_.paths)
        CHRONOS_TRY(storage().make_path(directory() + "/" + path.name));
    if (!request_.symlink) return {};
    for (const repo::ManifestTarget& target : manifest_.targets)
        if (target.tablespace_oid != 0)
            CHRONOS_TRY(storage().make_link(directory() + "/pg_data/" + target.name,
                                            "../../" + target.name));
    return {};
}

Result<> Run::save_partial() {
    // What somebody else wrote meanwhile would be lost with the proof of it.
    CHRONOS_TRY(witness_.check(storage()));
    // Whoever was taken for dead offers nobody to go on with his backup.
    if (lease_) CHRONOS_TRY(lease_->prove());
    CHRONOS_TRY(save_partial_manifest(publication(), manifest_, manifest_mutex_));
    return note("backup.manifest.copy");
}

CopySettings Run::copy_settings() {
    CopySettings settings;
    settings.repository = &request_.repository;
    settings.stanza = request_.stanza;
    settings.blocks = &request_.block_rules;
    settings.directory = directory();
    settings.pgdata = cluster_.pgdata;
    settings.manifest = &manifest_;
    settings.prior = prior_ ? &*prior_ : nullptr;
    settings.form = store_form();
    settings.gate = &*gate_;
    settings.check_pages = manifest_.options.checksum_page.value_or(false);
    settings.page_header_check = request_.page_header_check;
    settings.page_size = cluster_.control.page_size;
    settings.process_max = request_.process_max;
    settings.stages = &stages_;
    return settings;
}

MonitorSettings Run::monitor_settings() {
    MonitorSettings settings;
    settings.totals.phase = "copy";
    settings.totals.files_total = plan_.files.size();
    for (const PlannedFile& planned : plan_.files) settings.totals.bytes_total += planned.size;
    settings.progress = progress_;
    settings.lock = progress_lock_;
    settings.connection = &connection_;
    settings.stages = &stages_;
    settings.save = [this] { return save_partial(); };
    if (request_.resume)
        settings.save_every_bytes = std::max<std::uint64_t>(settings.totals.bytes_total / 100,
                                                            request_.manifest_save_threshold);
    return settings;
}

Result<> Run::copy_files() {
    CHRONOS_TRY(step("copy"));
    const Stopwatch watch(waits_.copy);
    if (manifest_.find_file("pg_data/global/pg_control") == nullptr)
        return Error(ErrorKind::not_found, "pg_control must be present in all online backups");
    Monitor monitor(monitor_settings(), cancel_);
    Result<> copied = backup::copy_files(
        copy_settings(), plan_, monitor.cancel(),
        [&](std::uint64_t bytes) {
            monitor.add_bytes(bytes);
            if (company_.companions)
                company_.companions->pace(company_.member, bytes, monitor.cancel());
        },
        [&](const PlannedFile& planned, const CopyOutcome& outcome) {
            monitor.add_file();
            return take_outcome(planned, outcome);
        });
    // Why the monitor stopped the copy says more than that it was stopped.
    CHRONOS_TRY(monitor.finish());
    CHRONOS_TRY(std::move(copied));
    copied_bytes_ = monitor.bytes();
    if (company_.companions) company_.companions->copied(company_.member);
    plan_ = {};  // the manifest is about to be written, several megabytes of a large cluster
    drop_vanished();
    return {};
}

Result<> Run::take_outcome(const PlannedFile& planned, const CopyOutcome& outcome) {
    const std::lock_guard lock(manifest_mutex_);
    repo::ManifestFile& file = manifest_.files[planned.index];
    switch (outcome.kind) {
        case CopyOutcome::Kind::vanished:
            log_detail("skip file removed by database " + source_path(cluster_.pgdata, file.name));
            vanished_.push_back(planned.index);
            break;
        case CopyOutcome::Kind::unchanged:
            log_detail("match file from prior backup " + source_path(cluster_.pgdata, file.name));
            refer_to_prior(*prior_, *prior_->find_file(file.name), file);
            break;
        case CopyOutcome::Kind::resumed:
            log_detail("match file from interrupted backup " +
                       source_path(cluster_.pgdata, file.name));
            if (file.repo_checksum.empty()) file.repo_checksum = outcome.stored.repo_checksum;
            break;
        case CopyOutcome::Kind::stored:
            outcome.stored.apply_to(file);
            if (!file.page_error) break;
            if (checksums_are_gone())
                forget_pages(file);
            else if (request_.page_errors_stop)
                return Error(ErrorKind::checksum, page_errors_of(file));
            else
                log_warn(page_errors_of(file));
            break;
    }
    return {};
}

/// Whether they were turned off since the backup began, which betas of 19 can do: pages written
/// since then have none.
bool Run::checksums_are_gone() const {
    const auto control = pgdata::read_control_file(cluster_.pgdata);
    return control && !control->pages_have_checksums();
}

void Run::forget_pages(repo::ManifestFile& file) {
    file.page_checked = file.page_error = false;
    file.page_error_ranges = {};
    if (!*manifest_.options.checksum_page) return;
    manifest_.options.checksum_page = false;
    log_warn(
        "page checksums were turned off during the backup: what was written since then has none");
}

std::string Run::page_errors_of(const repo::ManifestFile& file) const {
    if (file.page_error_ranges.empty())
        return "page misalignment in file " + file.name + ": file size " +
               std::to_string(file.size) + " is not divisible by page size " +
               std::to_string(cluster_.control.page_size);
    std::vector<std::string> pages;
    for (const auto& [first, last] : file.page_error_ranges)
        pages.push_back(first == last ? std::to_string(first)
                                      : std::to_string(first) + "-" + std::to_string(last));
    const bool one = pages.size() == 1 &&
                     file.page_error_ranges.front().first == file.page_error_ranges.front().second;
    return std::string("invalid page checksum") + (one ? "" : "s") + " found in file " + file.name +
           " at page" + (one ? " " : "s ") + join(pages, ", ");
}

void Run::drop_vanished() {
    std::ranges::sort(vanished_, std::greater<>());
    for (const std::size_t index : vanished_)
        manifest_.files.erase(manifest_.files.begin() + static_cast<std::ptrdiff_t>(index));
    vanished_.clear();
}

Result<> Run::make_durable() {
    CHRONOS_TRY(step("sync"));
    const Stopwatch watch(waits_.sync);
    return storage().sync_tree(directory());
}

Result<> Run::stop_on_server() {
    CHRONOS_TRY(step("stop"));
    const auto leave = [this] { return end_on_server(); };
    EndedBackup ended = CHRONOS_TRY(
        company_.companions ? company_.companions->stop(company_.member, leave, cancel_) : leave());
    manifest_.databases.clear();
    for (const db::Database& database : ended.databases) list_database(database);
    stopped_ = std::move(ended.stopped);
    manifest_.lsn_start = started_.lsn;
    manifest_.lsn_stop = stopped_.lsn;
    manifest_.archive_start = started_.segment;
    manifest_.archive_stop = pgdata::wal_segment_name_before(started_.timeline, stopped_.lsn,
                                                             cluster_.control.wal_segment_size);
    log_info("backup stop archive = " + manifest_.archive_stop + ", lsn = " + stopped_.lsn.str());
    manifest_.timestamp_stop = ended.timestamp;
    return {};
}

/// Whose name cannot stand in a manifest is backed up all the same: what it is called is known to
/// its own catalog. Only a selective restore cannot be told of it by name.
void Run::list_database(const db::Database& database) {
    if (repo::check_manifest_name(database.name))
        manifest_.databases.push_back({database.name, database.oid, database.last_system_oid});
    else
        log_warn("database '" + printable(database.name) + "' (oid " +
                 std::to_string(database.oid) +
                 ") is backed up without its name, which a manifest cannot hold: a selective "
                 "restore can leave it out, but not choose it");
}

Result<EndedBackup> Run::end_on_server() {
    log_info("execute non-exclusive backup stop and wait for all WAL segments to archive");
    EndedBackup ended;
    ended.databases = CHRONOS_TRY(db::list_databases(connection_));
    ended.stopped = CHRONOS_TRY(db::stop_backup(connection_));
    ended.timestamp = CHRONOS_TRY(db::server_time(connection_)).second;
    return ended;
}

Result<> Run::store_labels() {
    const std::string label = "pg_data/backup_label";
    CHRONOS_TRY(store_text(label, stopped_.backup_label));
    CHRONOS_TRY(
        witness_.note(storage(), stored_name(directory(), label, store_form().compress_type)));
    if (trim(stopped_.tablespace_map).empty()) return {};
    return store_text("pg_data/tablespace_map", stopped_.tablespace_map);
}

Result<> Run::store_text(const std::string& name, const std::string& content) {
    const StoreForm form = store_form();
    StorePipeline pipeline(
        form,
        CHRONOS_TRY(storage().create(stored_name(directory(), name, form.compress_type),
                                     storage::WriteMode::atomic)),
        {});
    CHRONOS_TRY_DOING(pipeline.write(io::bytes(content)), "store '" + name + "'");
    const StoredAs stored = CHRONOS_TRY_DOING(pipeline.finish(), "store '" + name + "'");
    repo::ManifestFile file;
    file.name = name;
    file.size_original = stored.size;
    file.timestamp = manifest_.timestamp_stop;
    stored.apply_to(file);
    log_detail("wrote '" + name + "' file returned from backup stop function");
    add_entry(std::move(file));
    return {};
}

// Files that are not the cluster's own belong to the owner of its directory.
void Run::add_entry(repo::ManifestFile file) {
    file.mode = manifest_.defaults.path_mode & kLabelModeMask;
    file.user = manifest_.defaults.user;
    file.group = manifest_.defaults.group;
    const auto at =
        std::ranges::lower_bound(manifest_.files, file.name, {}, &repo::ManifestFile::name);
    manifest_.files.insert(at, std::move(file));
}

Result<> Run::wait_for_wal() {
    if (!request_.archive_check) return {};
    CHRONOS_TRY(step("wal"));
    const Stopwatch watch(waits_.wal);
    if (request_.resume) CHRONOS_TRY(save_partial());
    const WalRange range{manifest_.archive_start, manifest_.archive_stop,
                         cluster_.control.wal_segment_size};
    wal_ = CHRONOS_TRY(backup::wait_for_wal(request_, archive_, range, cancel_));
    if (!request_.archive_copy) return {};
    const WalCopy copy{directory(), store_form(), range.segment_size, manifest_.timestamp_stop};
    for (repo::ManifestFile& file :
         CHRONOS_TRY(copy_wal(request_.repository, archive_, wal_, copy, cancel_)))
        add_entry(std::move(file));
    return {};
}

Result<> Run::complete_manifest() {
    CHRONOS_TRY(step("manifest"));
    manifest_.history_id = info_.current_id;
    manifest_.system_id = cluster_.control.system_id;
    manifest_.annotations = request_.annotations;
    repo::ManifestOptions& options = manifest_.options;
    options.backup_standby = false;
    options.buffer_size = request_.buffer_size;
    options.compress_level = store_form().compress_level;
    options.compress_level_network = request_.compress_level_network;
    options.process_max = request_.process_max;
    return {};
}

/// What others have listed or removed since the beginning is not undone.
Result<> Run::reload_info() {
    repo::ReconstructedInfo now =
        CHRONOS_TRY(repo::load_backup_info_reconstructed(request_.repository, request_.stanza));
    if (now.info.current_id != info_.current_id || now.info.cipher_pass != info_.cipher_pass)
        return Error(ErrorKind::lock_acquire, "stanza '" + request_.stanza +
                                                  "' was upgraded or created anew while the backup"
                                                  " was made")
            .with_hint("Take the backup again.");
    if (now.info.find(manifest_.label) != nullptr)
        return Error(ErrorKind::lock_acquire,
                     "somebody else has completed backup '" + manifest_.label + "'")
            .with_hint("Is another backup of this stanza running, perhaps on another host?");
    if (!manifest_.prior.empty() && now.info.find(manifest_.prior) == nullptr)
        return Error(ErrorKind::backup_set_invalid, "backup '" + manifest_.prior +
                                                        "', which this one is based on, was"
                                                        " removed while it was made")
            .with_hint("Take the backup again: it will be based on another one, or be full.");
    known_ = std::move(now);
    return {};
}

/// Locks may fail, and others may not know them: what is published was made by this run alone.
Result<> Run::prove_ours() {
    // A session that is gone proves nothing either way, and the backup does not need it any more.
    const auto locked = db::has_backup_lock(connection_);
    if (locked && !*locked)
        return Error(ErrorKind::lock_acquire, "the session has lost pgBackRest's advisory lock")
            .with_hint("Does a connection pooler stand between this command and the server?");
    if (lease_) CHRONOS_TRY(lease_->prove());
    CHRONOS_TRY(witness_.check(storage()));
    return reload_info();
}

Result<> Run::publish() {
    CHRONOS_TRY(cancel_.check());
    CHRONOS_TRY_DOING(prove_ours(), "publish backup '" + manifest_.label + "'");
    log_info("new backup label = " + manifest_.label);
    CHRONOS_TRY(prove_directory());
    const Publication to = publication();
    const auto manifest = [&]() -> Result<> {
        CHRONOS_TRY_DOING(save_manifest(to, manifest_), "save the manifest");
        return {};
    };
    const auto history = [&]() -> Result<> {
        CHRONOS_TRY_DOING(save_history(to, manifest_), "save the history manifest");
        return {};
    };
    CHRONOS_TRY(
        storage::at_once(storage(), {manifest, history, [&] { return touch_archive_info(); }}));
    CHRONOS_TRY(link_latest(to, manifest_.label));
    keep_configuration();
    // On a slow repository this was a while ago.
    if (lease_) CHRONOS_TRY_DOING(lease_->prove(), "list backup '" + manifest_.label + "'");
    return list_backup(to, info_, repo::backup_entry_of(manifest_));
}

/// The last look at the backup's directory before anybody takes it for a backup. Whatever must
/// still be true of it belongs here: nothing is published if it is not.
Result<> Run::prove_directory() {
    return repo::prove_stored(request_.repository, request_.stanza, manifest_);
}

// Rules of object stores that remove what is old go by the time of the last write.
Result<> Run::touch_archive_info() {
    archive_ = CHRONOS_TRY(repo::load_archive_info(request_.repository, request_.stanza));
    return repo::save_archive_info(request_.repository, request_.stanza, archive_);
}

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

BackupResult Run::result() const {
    BackupResult result;
    result.entry = repo::backup_entry_of(manifest_);
    result.file_total = manifest_.files.size();
    const std::string page_errors = tell_page_errors(manifest_);
    if (!page_errors.empty()) log_warn(page_errors);
    // First: a job's hint has room for some lines only.
    for (const std::string& part : {page_errors, left_out_, tell_what_is_lost(known_.dropped)})
        if (!part.empty()) result.warning += (result.warning.empty() ? "" : "; ") + part;
    log_info(std::string(repo::backup_type_name(manifest_.type)) +
             " backup size = " + format_size(result.entry.size_delta) +
             ", file total = " + std::to_string(result.file_total));
    log_info(throughput_text(copied_bytes_, stages_.times(), waits_));
    return result;
}

Result<BackupResult> run_one(const BackupRequest& request, db::Connection& connection,
                             const ProgressReceiver& progress, const Cancellation& cancel,
                             Company company) {
    Run run(request, connection, progress, cancel, company);
    CHRONOS_TRY(run.take_locks());
    CHRONOS_TRY(run.load_infos());
    CHRONOS_TRY(run.look_at_cluster());
    CHRONOS_TRY(run.choose_prior());
    CHRONOS_TRY(run.start_on_server());
    CHRONOS_TRY(run.prove_archiving());
    CHRONOS_TRY(run.list_files());
    CHRONOS_TRY(run.choose_label());
    CHRONOS_TRY(run.plan_copy());
    CHRONOS_TRY(run.prepare_directory());
    CHRONOS_TRY(run.copy_files());
    // From here on nothing may be mentioned that is not durable.
    CHRONOS_TRY(run.make_durable());
    CHRONOS_TRY(run.stop_on_server());
    CHRONOS_TRY(run.store_labels());
    CHRONOS_TRY(run.wait_for_wal());
    CHRONOS_TRY(run.complete_manifest());
    CHRONOS_TRY(run.publish());
    return run.result();
}

/// In a thread of its own, which nothing may leave but a result.
Result<BackupResult> run_member(const BackupRequest& request, db::Connection& connection,
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
    return run_one(request, connection, progress, cancel, {});
}

std::vector<Result<BackupResult>> run_backups(const std::vector<BackupRequest>& requests,
                                              db::Connection& connection,
                                              const ProgressReceiver& progress,
                                              const Cancellation& cancel) {
    if (requests.size() == 1) return {run_backup(requests.front(), connection, progress, cancel)};
    Companions companions(requests.size());
    SharedConnection shared(connection);
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
            results[i] = run_member(requests[i], shared, show, cancel, {&companions, i});
            companions.leave(i);
        });
    threads.clear();
    return results;
}

}  // namespace chronos::ops::backup
