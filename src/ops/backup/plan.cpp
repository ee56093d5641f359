#include "ops/backup/plan.h"

#include <algorithm>
#include <span>

#include "chronos/base/log.h"
#include "chronos/base/memory.h"
#include "chronos/pgdata/cluster_files.h"
#include "chronos/pgdata/wal.h"
#include "chronos/repo/manifest_store.h"
#include "chronos/repo/places.h"
#include "ops/backup/label.h"
#include "ops/backup/listing.h"
#include "ops/backup/phases.h"
#include "ops/backup/resume.h"

namespace chronos::ops::backup {
namespace {

constexpr std::string_view kDataRoot = "pg_data";
constexpr mode_t kDefaultFileModeMask = 0640;
constexpr std::uint64_t kCompareSizeMax = std::uint64_t{256} * 1024;
constexpr std::size_t kEntriesLater = 256;  // labels, WAL copied into the backup

const pgdata::ClusterEntry* find_path(const pgdata::ClusterList& list, std::string_view name) {
    const auto at = std::ranges::find(list.paths, SharedText(name), &pgdata::ClusterEntry::name);
    return at == list.paths.end() ? nullptr : &*at;
}

Result<repo::ManifestTarget> target_of(const pgdata::ClusterLink& link,
                                       const std::vector<db::Tablespace>& tablespaces) {
    repo::ManifestTarget target;
    target.is_link = true;
    target.name = link.name;
    target.path = link.destination;
    if (link.tablespace_oid != 0) {
        const auto tablespace =
            std::ranges::find(tablespaces, link.tablespace_oid, &db::Tablespace::oid);
        if (tablespace == tablespaces.end())
            return Error(ErrorKind::internal, "tablespace with oid " +
                                                  std::to_string(link.tablespace_oid) +
                                                  " not found in the catalog")
                .with_hint(
                    "Was a tablespace created or dropped while the backup began? Then take"
                    " it again.");
        target.name = "pg_tblspc/" + std::to_string(link.tablespace_oid);
        target.tablespace_oid = link.tablespace_oid;
        target.tablespace_name = tablespace->name;
    } else if (link.to_file) {
        const std::size_t slash = link.destination.rfind('/');
        target.file = link.destination.substr(slash + 1);
        target.path = slash == std::string::npos ? "." : link.destination.substr(0, slash);
        if (target.path.empty()) target.path = "/";
    }
    return target;
}

repo::ManifestFile manifest_file_of(const pgdata::ClusterEntry& entry, bool check_pages) {
    repo::ManifestFile file;
    file.name = entry.name;
    file.size = file.size_original = entry.size;
    file.repo_size = entry.size;
    file.timestamp = entry.timestamp;
    file.mode = entry.mode;
    file.user = entry.user;
    file.group = entry.group;
    file.page_checked = check_pages && pgdata::has_page_checksums(entry.name);
    return file;
}

/// nullopt: the prior's copy serves, and nothing is read.
std::optional<Action> action_for(const repo::Manifest& prior, const repo::ManifestFile& prior_file,
                                 const repo::ManifestFile& file, bool delta) {
    if (file.size != prior_file.size) return Action::copy;
    // A backup with bundles does not store empty files: there is nothing to refer to. What another
    // backup refers to may be such a file, so only one that the prior has itself is sure to exist.
    if (file.size == 0)
        return prior.bundle || !prior_file.reference.empty() ? std::optional(Action::copy)
                                                             : std::optional<Action>{};
    if (prior_file.checksum.empty()) return Action::copy;
    if (delta) return Action::compare;
    if (file.timestamp == prior_file.timestamp) return std::nullopt;
    // Touched without being changed: common among small files, and cheap to find out for them.
    return file.size <= kCompareSizeMax ? Action::compare : Action::copy;
}

bool larger_first(const PlannedFile& a, const PlannedFile& b) {
    return a.size != b.size ? a.size > b.size : a.index < b.index;
}

/// The data directory or the tablespace that a file lies in.
std::string_view target_of(std::string_view manifest_name) {
    constexpr std::string_view kTablespaces = "pg_tblspc/";
    if (!manifest_name.starts_with(kTablespaces)) return kDataRoot;
    return manifest_name.substr(0, manifest_name.find('/', kTablespaces.size()));
}

bool bundled_before(const repo::ManifestFile& a, const repo::ManifestFile& b) {
    const int targets = target_of(a.name).compare(target_of(b.name));
    if (targets != 0) return targets < 0;
    return a.timestamp != b.timestamp ? a.timestamp < b.timestamp : a.name > b.name;
}

/// Cuts the files from `first` on into bundles: each takes files of one target until it is full.
void fill_bundles(std::size_t first, const BundleRules& rules, const repo::Manifest& manifest,
                  CopyPlan& plan) {
    std::uint64_t size = 0;
    std::string_view target;
    for (std::size_t at = first; at < plan.files.size(); ++at) {
        const PlannedFile& file = plan.files[at];
        const std::string_view own = target_of(manifest.files[file.index].name);
        if (at == first || size >= rules.size || own != target) {
            plan.jobs.push_back({at, 0, true});
            size = 0;
            target = own;
        }
        ++plan.jobs.back().count;
        size += file.size;
    }
}

}  // namespace

Result<> describe_cluster(const pgdata::ClusterList& list, const std::string& pgdata,
                          const std::vector<db::Tablespace>& tablespaces,
                          repo::Manifest& manifest) {
    const pgdata::ClusterEntry* root = find_path(list, kDataRoot);
    if (root == nullptr) return Error(ErrorKind::internal, "the data directory is not in its list");
    manifest.defaults = {root->mode & kDefaultFileModeMask, root->mode, root->user, root->group};

    repo::ManifestTarget data_target;
    data_target.name = kDataRoot;
    data_target.path = pgdata;
    manifest.targets = {std::move(data_target)};
    for (const pgdata::ClusterLink& link : list.links) {
        manifest.links.push_back({link.name, link.destination, link.user, link.group});
        manifest.targets.push_back(CHRONOS_TRY(target_of(link, tablespaces)));
    }
    std::ranges::sort(manifest.targets, {}, &repo::ManifestTarget::name);
    for (const pgdata::ClusterEntry& path : list.paths)
        manifest.paths.push_back({path.name.str(), path.mode, path.user, path.group});
    const bool check_pages = manifest.options.checksum_page.value_or(false);
    // Some entries are added in the end, which must not make all of them move to larger memory.
    manifest.files.reserve(list.files.size() + kEntriesLater);
    for (const pgdata::ClusterEntry& entry : list.files)
        manifest.files.push_back(manifest_file_of(entry, check_pages));
    return {};
}

std::optional<std::string> reason_for_delta(const repo::Manifest& manifest,
                                            const repo::Manifest* prior, UnixTime listed_at) {
    for (const repo::ManifestFile& file : manifest.files) {
        if (file.timestamp > listed_at)
            return "file '" + file.name + "' has timestamp (" + std::to_string(file.timestamp) +
                   ") in the future (relative to copy start " + std::to_string(listed_at) +
                   "), enabling delta checksum";
        const repo::ManifestFile* before = prior == nullptr ? nullptr : prior->find_file(file.name);
        if (before == nullptr) continue;
        if (file.timestamp < before->timestamp)
            return "file '" + file.name + "' has timestamp earlier than prior backup (prior " +
                   std::to_string(before->timestamp) + ", current " +
                   std::to_string(file.timestamp) + "), enabling delta checksum";
        if (file.timestamp == before->timestamp && file.size != before->size_original)
            return "file '" + file.name + "' has same timestamp (" +
                   std::to_string(file.timestamp) + ") as prior but different size (prior " +
                   std::to_string(before->size_original) + ", current " +
                   std::to_string(file.size) + "), enabling delta checksum";
    }
    return std::nullopt;
}

void refer_to_prior(const repo::Manifest& prior, const repo::ManifestFile& prior_file,
                    repo::ManifestFile& file) {
    repo::ManifestFile merged = prior_file;
    merged.name = file.name;
    merged.size_original = file.size_original;
    merged.timestamp = file.timestamp;
    merged.mode = file.mode;
    merged.user = file.user;
    merged.group = file.group;
    if (merged.reference.empty()) merged.reference = prior.label;
    // Of a stray file among relations other tools have checked what is no page.
    if (merged.page_error && !pgdata::has_page_checksums(merged.name)) {
        merged.page_checked = merged.page_error = false;
        merged.page_error_ranges = {};
    }
    file = std::move(merged);
}

std::vector<PlannedFile> plan_files(const repo::Manifest* prior, repo::Manifest& manifest) {
    std::vector<PlannedFile> plan;
    for (std::size_t index = 0; index < manifest.files.size(); ++index) {
        repo::ManifestFile& file = manifest.files[index];
        if (file.size == 0 && manifest.bundle) continue;
        PlannedFile planned{index, file.size, Action::copy};
        const repo::ManifestFile* before = prior == nullptr ? nullptr : prior->find_file(file.name);
        if (before != nullptr) {
            const auto action = action_for(*prior, *before, file, manifest.options.delta);
            if (!action) {
                refer_to_prior(*prior, *before, file);
                continue;
            }
            planned.action = *action;
        }
        plan.push_back(planned);
    }
    return plan;
}

void keep_planned(const std::vector<PlannedFile>& files, const repo::Manifest& manifest,
                  repo::Manifest& prior) {
    if (files.size() > prior.files.size() / 2) return;  // both lists at a time would be more memory
    std::vector<repo::ManifestFile> kept;  // of a size of its own: erasing would free nothing
    // In order of name: what has been moved away lies before what is looked for.
    for (const PlannedFile& planned : files)
        if (repo::ManifestFile* before = prior.find_file(manifest.files[planned.index].name))
            kept.push_back(std::move(*before));
    prior.files = std::move(kept);
}

CopyPlan arrange(std::vector<PlannedFile> files, const repo::Manifest& manifest,
                 std::optional<BundleRules> bundles) {
    const auto name = [&](const PlannedFile& planned) {
        return std::string_view(manifest.files[planned.index].name);
    };
    const auto control = std::ranges::find(files, kControlFile, name);
    std::optional<PlannedFile> last;
    if (control != files.end()) {
        last = *control;
        files.erase(control);
    }
    const auto alone =
        std::stable_partition(files.begin(), files.end(), [&](const PlannedFile& file) {
            return !bundles || file.size > bundles->limit || file.action == Action::resume;
        });
    const auto alone_count = static_cast<std::size_t>(alone - files.begin());
    // The order must depend on nothing but the list, so that runs can be compared.
    std::sort(files.begin(), alone, larger_first);
    std::sort(alone, files.end(), [&](const PlannedFile& a, const PlannedFile& b) {
        return bundled_before(manifest.files[a.index], manifest.files[b.index]);
    });
    CopyPlan plan;
    plan.files = std::move(files);
    plan.jobs.reserve(alone_count + 1);
    for (std::size_t at = 0; at < alone_count; ++at) plan.jobs.push_back({at, 1, false});
    if (bundles) fill_bundles(alone_count, *bundles, manifest, plan);
    if (last) {
        plan.jobs.push_back({plan.files.size(), 1, bundles.has_value()});
        plan.files.push_back(*last);
    }
    return plan;
}

void hold_new_files(CopyPlan& plan, const repo::Manifest& manifest, UnixTime settled_before) {
    for (CopyJob& job : plan.jobs)
        job.held = std::ranges::any_of(
            std::span(plan.files).subspan(job.first, job.count), [&](const PlannedFile& file) {
                return manifest.files[file.index].timestamp >= settled_before;
            });
}

std::string source_path(const std::string& pgdata, std::string_view manifest_name) {
    std::string path = pgdata;
    if (manifest_name.starts_with("pg_data/")) manifest_name.remove_prefix(kDataRoot.size() + 1);
    return path.append("/").append(manifest_name);
}

namespace {

Result<Listing> list_files(const Scope& scope, const Work& work) {
    CHRONOS_TRY(scope.step("list"));
    Listing listing = CHRONOS_TRY(list_for_backup(work.request, work.cluster, scope.connection));
    std::vector<repo::Place> places;
    for (const pgdata::ClusterLink& link : listing.list.links)
        if (!link.to_file)
            places.push_back({"link", work.cluster.pgdata + link.name.substr(link.name.find('/'))});
    CHRONOS_TRY(repo::check_repository_place(work.request.repository, places));
    release_free_memory();  // the manifest is about to be made, beside the prior's
    return listing;
}

/// The next diff or incr may be made of another server, where a file of the same size has by
/// accident the time that one with other content has here, and by pgBackRest, which knows nothing
/// of that. Both read every file if the time of one is earlier than it was: that of one that never
/// changes is made late.
void mark_as_of_standby(db::ServerTime listed_at, repo::Manifest& manifest) {
    if (repo::ManifestFile* file = manifest.find_file("pg_data/PG_VERSION"))
        file->timestamp = listed_at.second;
}

Result<> fill_manifest(const Listing& listing, db::ServerTime listed_at, Started& started) {
    const Cluster& cluster = started.work.cluster;
    repo::Manifest& manifest = started.manifest;
    // When files of the second of the list are copied; others have times that are as good earlier.
    manifest.timestamp_copy_start = listed_at.second + 1;
    manifest.pg_version = cluster.control.version;
    manifest.catalog_version = cluster.control.catalog_version;
    manifest.control_version = cluster.control.control_version;
    CHRONOS_TRY(describe_cluster(listing.list, cluster.pgdata, listing.tablespaces, manifest));
    if (cluster.standby()) mark_as_of_standby(listed_at, manifest);
    return {};
}

Result<> choose_label(const Scope& scope, Started& started) {
    repo::Manifest& manifest = started.manifest;
    if (started.resumed) {
        manifest.label = started.resumed->label;
    } else {
        const Work& work = started.work;
        const std::string known = work.known.labels.empty() ? "" : work.known.labels.back();
        manifest.label =
            CHRONOS_TRY(make_label(work.request.repository, work.request.stanza, work.request.type,
                                   manifest.prior, started.server.timestamp, known, scope.cancel));
    }
    manifest.references.push_back(manifest.label);
    return {};
}

void decide_delta(const Started& started, db::ServerTime listed_at, repo::Manifest& manifest) {
    if (manifest.options.delta) return;
    const repo::Manifest* prior = started.prior ? &*started.prior : nullptr;
    auto reason = reason_for_delta(manifest, prior, listed_at.second);
    if (!reason && prior != nullptr && !prior->archive_stop.empty() &&
        pgdata::timeline_of_segment(prior->archive_stop) != started.server.timeline)
        reason = "a timeline switch has occurred since the " + prior->label +
                 " backup, enabling delta checksum";
    if (!reason && prior != nullptr && prior->options.online != manifest.options.online)
        reason = "the online option has changed since the " + prior->label +
                 " backup, enabling delta checksum";
    // Files of two servers have unlike times: equal ones are an accident.
    if (!reason && prior != nullptr &&
        (started.work.cluster.standby() || prior->options.backup_standby.value_or(false)))
        reason = "this backup or the " + prior->label +
                 " backup is that of a standby, enabling delta checksum";
    if (reason) log_warn(*reason);
    manifest.options.delta = reason.has_value();
}

Result<CopyPlan> plan_jobs(Started& started, db::ServerTime listed_at) {
    repo::Manifest& manifest = started.manifest;
    const BackupRequest& request = started.work.request;
    decide_delta(started, listed_at, manifest);
    const auto rules = request.bundle
                           ? std::optional(BundleRules{request.bundle_size, request.bundle_limit})
                           : std::nullopt;
    std::vector<PlannedFile> files =
        plan_files(started.prior ? &*started.prior : nullptr, manifest);
    // A server writes at least pg_control.
    if (files.empty() && !manifest.options.online)
        return Error(ErrorKind::not_found,
                     "no files have changed since the last backup - this seems unlikely")
            .with_hint("Backup " + manifest.prior + " is what this one would have been.");
    if (started.resumed)
        CHRONOS_TRY(keep_stored_files(request.repository, request.stanza, *started.resumed,
                                      request.block_rules, manifest, files));
    started.resumed.reset();
    if (started.prior) keep_planned(files, manifest, *started.prior);
    CopyPlan jobs = arrange(std::move(files), manifest, rules);
    hold_new_files(jobs, manifest, settled_before(manifest, listed_at));
    return jobs;
}

Result<> make_paths(const Work& work, const repo::Manifest& manifest) {
    const std::string directory = work.directory(manifest);
    for (const repo::ManifestPath& path : manifest.paths)
        CHRONOS_TRY(work.storage().make_path(directory + "/" + path.name));
    if (!work.request.symlink) return {};
    for (const repo::ManifestTarget& target : manifest.targets)
        if (target.tablespace_oid != 0)
            CHRONOS_TRY(work.storage().make_link(directory + "/pg_data/" + target.name,
                                                 "../../" + target.name));
    return {};
}

Result<> prepare_directory(Work& work, const repo::Manifest& manifest) {
    // Before hours of copying: what cannot be read back now will not at the end.
    CHRONOS_TRY_DOING(repo::prove_manifest(manifest), "prepare the manifest");
    std::mutex unshared;
    if (work.request.resume) CHRONOS_TRY(save_partial(work, manifest, unshared));
    // A full backup on a file system can be read without us: every directory is there, and every
    // tablespace where a cluster has it. One with bundles cannot.
    const bool readable = manifest.type == repo::BackupType::full && !manifest.bundle;
    if (!readable || !work.storage().features().paths) return {};
    return make_paths(work, manifest);
}

}  // namespace

Result<Planned> plan(const Scope& scope, Started&& started) {
    std::string left_out;
    std::unique_ptr<ClockGate> gate;
    db::ServerTime listed_at;
    {
        Listing listing = CHRONOS_TRY(list_files(scope, started.work));
        listed_at = CHRONOS_TRY(clock_of(scope.connection));
        gate = std::make_unique<ClockGate>(scope.connection, listed_at);
        CHRONOS_TRY(fill_manifest(listing, listed_at, started));
        left_out = std::move(listing.left_out);
    }
    CHRONOS_TRY(choose_label(scope, started));
    CopyPlan jobs = CHRONOS_TRY(plan_jobs(started, listed_at));
    CHRONOS_TRY(prepare_directory(started.work, started.manifest));
    return Planned{std::move(started.work),  std::move(started.manifest),
                   std::move(started.prior), std::move(started.server),
                   std::move(jobs),          std::move(gate),
                   std::move(left_out)};
}

}  // namespace chronos::ops::backup
