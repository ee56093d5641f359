#include <sys/stat.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <functional>
#include <map>

#include "chronos/base/text.h"
#include "chronos/ops/restore/restore.h"
#include "chronos/pgdata/control_file.h"
#include "chronos/pgdata/server_parameters.h"
#include "chronos/repo/manifest_store.h"
#include "chronos/repo/places.h"
#include "chronos/repo/side/wal_notes.h"
#include "chronos/repo/stored_file.h"
#include "chronos/repo/wal_archive.h"
#include "chronos/storage/listed_once.h"
#include "chronos/storage/parallel.h"
#include "ops/restore/destination.h"
#include "ops/restore/mapping.h"
#include "ops/restore/other_clusters.h"
#include "ops/restore/other_repositories.h"
#include "ops/restore/ownership.h"
#include "ops/restore/page_errors.h"
#include "ops/restore/parameters.h"
#include "ops/restore/select.h"
#include "ops/restore/selective.h"
#include "ops/restore/settings.h"
#include "ops/restore/stored_objects.h"
#include "ops/restore/target.h"
#include "ops/restore/timeline.h"
#include "ops/restore/wal_scan.h"

namespace chronos::ops::restore {
namespace {

namespace fs = std::filesystem;

bool exists(const std::string& path) {
    std::error_code code;
    return fs::exists(path, code);
}

/// PG_VERSION is in each directory of a database, too: what else a data directory has, if only some
/// of it is left, those have not.
bool is_data_directory(const std::string& path) {
    if (exists(path + "/backup.manifest")) return true;
    return exists(path + "/PG_VERSION") &&
           std::ranges::any_of(std::array{"/base", "/global", "/pg_wal", "/pg_xlog", "/pg_tblspc"},
                               [&](const char* part) { return exists(path + part); });
}

/// Whether --delta and --force may be honoured: they remove what does not belong to a cluster.
void decide_replacement(const RestoreRequest& request, RestorePlan& plan) {
    plan.delta = request.delta;
    plan.force = request.force;
    plan.save_current = request.save_current;
    if (!plan.delta && !plan.force) return;
    if (is_data_directory(request.pg_path)) return;
    plan.warnings.push_back(
        "--delta or --force specified but unable to find 'PG_VERSION' or 'backup.manifest' in '" +
        request.pg_path +
        "' to confirm that this is a valid $PGDATA directory.  --delta and --force have been "
        "disabled and if any files exist in the destination directories the restore will be "
        "aborted.");
    plan.delta = plan.force = false;
}

/// What only pg_control knows. Without one (a damaged backup) what is likely.
struct ControlFacts {
    std::uint32_t wal_segment_size = 16u << 20;
    std::uint64_t next_xid = 0;  ///< 0: not known
};

ControlFacts control_facts(const RestoreRequest& request, const RestorePlan& plan) {
    ControlFacts facts;
    const repo::ManifestFile* file = plan.manifest.find_file("pg_data/global/pg_control");
    if (file == nullptr) return facts;
    const auto content = repo::read_small_file(request.repositories[plan.repository_index],
                                               request.stanza, plan.manifest, *file, 1u << 16);
    if (!content) return facts;
    const auto control = pgdata::parse_control_file(io::bytes(*content));
    if (control) facts.wal_segment_size = control->wal_segment_size;
    if (control) facts.next_xid = pgdata::next_xid_in_control_file(io::bytes(*content));
    return facts;
}

void judge_xid(const ControlFacts& control, RestorePlan& plan) {
    if (plan.type != RecoveryType::xid || !plan.manifest.options.online) return;
    // One may be streamed, another one be on its way.
    const std::uint64_t wal_bytes = (plan.wal.count + 2) * control.wal_segment_size;
    auto judged =
        judge_xid_epoch(parse_uint(plan.target_setting).value_or(0), control.next_xid, wal_bytes);
    if (!judged) plan.problems.push_back({std::move(judged).error()});
}

/// Whether recovery depends on the archive: with these types, and nobody having given another
/// source of WAL.
bool needs_archive(const RestoreRequest& request, const RestorePlan& plan) {
    return plan.type != RecoveryType::none && plan.type != RecoveryType::preserve &&
           plan.type != RecoveryType::standby &&
           !request.recovery_options.contains("restore_command") &&
           !request.recovery_options.contains("restore-command");
}

std::string name_list(const std::vector<std::string>& names, std::uint64_t count) {
    std::string text = join(names, ", ");
    if (count > names.size()) text += " and " + std::to_string(count - names.size()) + " more";
    return text;
}

void judge_missing(const RestoreRequest& request, const WalScan& scan, RestorePlan& plan) {
    if (!scan.missing_in_backup.empty()) {
        Error error =
            Error(ErrorKind::not_found,
                  "WAL that backup " + plan.manifest.label +
                      " needs is not in the archive: " + join(scan.missing_in_backup, ", "))
                .with_hint("This backup cannot be made consistent; --set chooses another.");
        if (needs_archive(request, plan))
            plan.problems.push_back({std::move(error)});
        else
            plan.warnings.push_back(error.message());
    }
}

/// Whether a recovery to the target ends before it reads the missing segment. nullopt: only the WAL
/// itself would say.
std::optional<bool> ends_before(const RestoreRequest& request, const RestorePlan& plan,
                                const WalKnowledge& wal, Lsn hole, const BeforeHole& known,
                                std::uint32_t segment_size) {
    switch (plan.type) {
        case RecoveryType::immediate: return true;
        case RecoveryType::lsn: return Lsn::parse(request.target).value_or(Lsn{}) <= known.record;
        // PostgreSQL stops at the first commit behind the target.
        case RecoveryType::time: {
            const auto last =
                wal.target_before(Lsn{hole.value / segment_size * segment_size}).last_end_us;
            return plan.target_us && ((last && *plan.target_us < *last) ||
                                      (known.commit && *plan.target_us < known.commit->time_us));
        }
        case RecoveryType::xid:
        case RecoveryType::name: {
            const pgdata::TargetInWal target = wal.target_before(hole);
            if (target.first && *target.first < hole) return true;
            if (target.uncertain || !wal.complete_before(hole)) return std::nullopt;
            return false;
        }
        default: return false;
    }
}

/// Missing WAL with later WAL behind it: no recovery gets past it, and ours stops there with an
/// error rather than to take it for the end.
void judge_hole(const RestoreRequest& request, const WalScanRequest& scan_request,
                const WalScan& scan, const WalKnowledge& wal, RestorePlan& plan) {
    if (!scan.hole || !scan.missing_in_backup.empty()) return;
    const std::string missing = name_list(scan.wal.missing, scan.wal.missing_count);
    if (!needs_archive(request, plan)) {
        plan.warnings.push_back("WAL is missing in the archive: " + missing +
                                "; recovery goes on behind it only if another source has it");
        return;
    }
    const BeforeHole known = look_before(scan_request, *scan.hole);
    const auto& last = known.commit;
    const std::optional<bool> before =
        ends_before(request, plan, wal, scan.hole->begin, known, scan_request.segment_size);
    // It must not be asked for by the server reading ahead.
    plan.no_reading_ahead = before.value_or(true);
    if (before.value_or(false)) {
        plan.notes.push_back("WAL behind the target is missing in the archive: " + missing);
        return;
    }
    if (!before) {
        plan.warnings.push_back("WAL is missing in the archive: " + missing +
                                "; if the target is not before it, recovery stops there with an "
                                "error");
        return;
    }
    Error error(ErrorKind::not_found, "recovery cannot pass WAL that is missing in the archive: " +
                                          missing + ", while later WAL exists");
    if (last)
        error = std::move(error).with_hint("--type=lsn --target=" + last->begin.str() +
                                           " recovers up to the last commit before it, of " +
                                           format_instant(last->time_us) + ".");
    error = std::move(error)
                .with_hint("--type=immediate recovers to the end of the backup.")
                .with_hint(
                    "If another copy of the segments exists (pg_wal of the former primary "
                    "or of a standby), push them with archive-push first.");
    plan.problems.push_back({std::move(error)});
}

/// Whether the target is before that WAL decides; the commits in front of it tell of a time.
void judge_barrier(const RestoreRequest& request, const WalScanRequest& scan_request,
                   const WalKnowledge& known, RestorePlan& plan) {
    if (!known.barrier) return;
    const WalKnowledge::Barrier& barrier = *known.barrier;
    // No target gets around what makes the backup consistent.
    if (barrier.begin < plan.manifest.lsn_stop.value_or(Lsn{}))
        return add_barrier(barrier, /*ends_before=*/false, plan);
    BeforeHole before = look_before(scan_request, {pgdata::timeline_of_segment(barrier.segment),
                                                   barrier.segment, barrier.begin});
    if (!barrier.before_damage || barrier.before_damage->value != 0)
        before.record = barrier.last_before();
    const auto ends =
        ends_before(request, plan, known, barrier.begin, before, scan_request.segment_size);
    // It must not be asked for by the server reading ahead.
    plan.no_reading_ahead = plan.no_reading_ahead || ends.value_or(true);
    add_barrier(barrier, ends, plan);
}

/// Times of backups have seconds, the target may be any moment in the one in which this one ended:
/// a server refuses to stop at a transaction that ended before.
void judge_same_second(const RestoreRequest& request, const WalScanRequest& scan_request,
                       RestorePlan& plan) {
    if (plan.type != RecoveryType::time || !plan.target_us || !plan.manifest.lsn_stop ||
        plan.manifest.timestamp_stop != *plan.target_us / 1000000)
        return;
    const std::string& stop = plan.manifest.archive_stop;
    const BeforeHole before = look_before(
        scan_request, {pgdata::timeline_of_segment(stop), stop, *plan.manifest.lsn_stop});
    if (!before.commit || before.commit->time_us < *plan.target_us ||
        (!request.target_exclusive && before.commit->time_us == *plan.target_us))
        return;
    plan.problems.push_back(
        {Error(ErrorKind::backup_set_invalid,
               "target '" + request.target + "' is before the end of backup " +
                   plan.manifest.label + ": a transaction before that ended at " +
                   format_instant(before.commit->time_us))
             .with_hint("A later target, or an earlier backup by --set, can be had.")});
}

/// What somebody may not expect of the target they gave.
void judge_target(const WalScan& scan, RestorePlan& plan) {
    const RestoreWal& wal = scan.wal;
    if (plan.type == RecoveryType::immediate && scan.newer_count > 0)
        plan.warnings.push_back("recovery stops as soon as the backup is consistent: " +
                                std::to_string(scan.newer_count) +
                                " newer WAL segments in the archive, up to " + wal.last +
                                ", are left out; --type=default applies them too");
    if (plan.type == RecoveryType::time && plan.target_us) {
        plan.notes.push_back("recovery target time is " + format_instant(*plan.target_us) +
                             "; later changes are discarded");
    }
}

/// The end of the WAL that recovery can read: its last complete segment, or what was streamed of
/// the one behind it.
struct WalEnd {
    std::string segment;
    UnixTime stored = 0;
};

WalEnd end_of_wal(const RestoreRequest& request, const std::vector<ArchiveLocation>& archives,
                  const RestoreWal& wal) {
    WalEnd end{wal.last, wal.last_stored};
    for (const ArchiveLocation& archive : archives) {
        const std::string archive_id = archive.directory.substr(archive.directory.rfind('/') + 1);
        const auto pieces = repo::list_wal_pieces(*archive.repository, request.stanza, archive_id);
        if (!pieces) continue;
        for (const repo::WalPiece& piece : *pieces) {
            end.segment = std::max(end.segment, piece.segment);
            end.stored = std::max(end.stored, piece.stored);
        }
    }
    return end;
}

/// Why recovery cannot come to a time; "" if it may. A server stops at the first end of a
/// transaction behind it, not at its own clock.
std::string beyond_time(const RestoreRequest& request, const WalEnd& end, const WalKnowledge& known,
                        UnixTime now, std::int64_t target_us) {
    const std::string text = "the recovery target time " + format_instant(target_us);
    const std::int64_t seconds = target_us / 1000000;
    // The clock has seconds, the target microseconds: this second is not the future yet.
    if (seconds > now) return text + " is in the future";
    if (end.stored != 0 && seconds > end.stored)
        return text + " is later than the last WAL in the archive";
    const pgdata::TargetInWal target = known.target();
    if (!known.complete() || target.uncertain) return "";
    const auto& last = target.last_end_us;
    if (last && (request.target_exclusive ? target_us <= *last : target_us < *last)) return "";
    if (!last) return text + " is later than any transaction in the WAL: there is none";
    return text + " is not before the last transaction in the WAL, which ended at " +
           format_instant(*last);
}

/// The same for a position. A server stops at the first record that begins there or behind it, so
/// that a segment which ends before is not enough: what a switch of segments leaves empty has none.
std::string beyond_lsn(const RestoreRequest& request, const WalEnd& end,
                       const WalScanRequest& scan_request, const RestorePlan& plan) {
    if (end.segment.empty()) return "";
    const Lsn target = Lsn::parse(request.target).value_or(Lsn{});
    const std::string needed = pgdata::wal_segment_name_before(
        plan.target_timeline, Lsn{target.value + 1}, scan_request.segment_size);
    const std::string text = "the recovery target " + request.target + " is ";
    if (needed.substr(8) > end.segment.substr(8))
        return text + "in segment " + needed + ", behind the last WAL in the archive";
    if (needed.substr(8) < end.segment.substr(8)) return "";
    const Lsn last = last_record_of(scan_request, end.segment);
    if (last == Lsn{} || last >= target) return "";
    return text + "behind the last record in the archive, which begins at " + last.str();
}

/// The same for other targets.
std::string beyond_wal(const RestoreRequest& request, const WalKnowledge& known,
                       const RestorePlan& plan) {
    const pgdata::TargetInWal target = known.target();
    if (!known.complete() || target.uncertain || target.found) return "";
    if (plan.type == RecoveryType::xid)
        return "no transaction " + request.target + " ends in the WAL behind this backup";
    if (plan.type == RecoveryType::name)
        return "the WAL behind this backup has no restore point '" + printable(request.target) +
               "'";
    return "";
}

/// A target that no WAL leads to: a server of version 13 or later gives up there, after everything
/// has been restored; an older one ends before it without a word.
void judge_reach(const RestoreRequest& request, const WalEnd& end, const WalKnowledge& known,
                 const WalScanRequest& scan_request, RestorePlan& plan) {
    const UnixTime now = request.now != 0 ? request.now : unix_now();
    const std::string why = plan.target_us ? beyond_time(request, end, known, now, *plan.target_us)
                            : plan.type == RecoveryType::lsn
                                ? beyond_lsn(request, end, scan_request, plan)
                                : beyond_wal(request, known, plan);
    if (why.empty()) return;
    std::string reach =
        "The archive ends with " + (end.segment.empty() ? "the backup" : end.segment);
    if (end.stored != 0) reach += ", stored at " + format_local_time(end.stored);
    Error error = Error(ErrorKind::backup_set_invalid, why)
                      .with_hint(reach +
                                 ": --type=default recovers to there, or give an earlier "
                                 "target.");
    // Only the WAL knows where these are, and what is before this backup was not looked at.
    if (plan.type == RecoveryType::name || plan.type == RecoveryType::xid)
        error =
            std::move(error).with_hint("What was before the end of backup " + plan.manifest.label +
                                       " an older backup recovers to: --set chooses it.");
    // Somebody else's restore_command may find more than we know of.
    if (needs_archive(request, plan) && major_of(plan.manifest.pg_version) >= 13)
        plan.problems.push_back({std::move(error)});
    else
        plan.warnings.push_back(error.message());
}

/// Why is among the warnings, for each repository.
void judge_no_archive(const RestoreRequest& request, RestorePlan& plan) {
    if (!plan.manifest.options.online || !needs_archive(request, plan)) return;
    plan.problems.push_back(
        {Error(ErrorKind::not_found, "backup " + plan.manifest.label +
                                         " needs WAL, and no repository has an archive of its "
                                         "cluster that can be read")
             .with_hint(repo::repair_hint(request.stanza))
             .with_hint("--recovery-option=restore_command=... takes the WAL from elsewhere.")});
}

/// Recovery asks every repository at its end, and does not believe one that has lost its archive.
void judge_lost_archives(const RestoreRequest& request,
                         const std::vector<ArchiveLocation>& archives, RestorePlan& plan) {
    std::map<const repo::Repository*, std::vector<std::string>> ids;
    for (const ArchiveLocation& archive : archives)
        ids[archive.repository].push_back(archive.archive_id);
    for (const auto& [repository, own] : ids) {
        const auto there = repo::check_archive_is_there(*repository, request.stanza, own);
        if (there || there.error().kind() != ErrorKind::path_missing) continue;
        Error error = Error(there.error().kind(), there.error().message() +
                                                      ": recovery would stop where the other "
                                                      "repositories end")
                          .with_hint(there.error().hint())
                          .with_hint("--repo recovers with what one of the others has.");
        if (needs_archive(request, plan))
            plan.problems.push_back({std::move(error)});
        else
            plan.warnings.push_back(error.message());
    }
}

/// 0: where a file is lost, or damaged, nobody knows what a server is going to find.
Timeline first_free(const repo::Timelines& timelines, Timeline timeline) {
    for (;; ++timeline) {
        if (timelines.damaged.contains(timeline)) return 0;
        const auto way = timelines.ways.find(timeline);
        if (way == timelines.ways.end())
            return timelines.with_directories.contains(timeline) ? 0 : timeline;
        if (way->second.told_by != 0) return 0;
    }
}

Result<> plan_wal(const RestoreRequest& request, const TimelineGuide& guide, RestorePlan& plan) {
    const std::vector<ArchiveLocation>& archives = guide.archives();
    if (archives.empty()) judge_no_archive(request, plan);
    if (!plan.manifest.options.online || archives.empty()) {
        judge_reach(request, {}, {}, {}, plan);
        return {};
    }
    const TimelinePath path =
        CHRONOS_TRY(guide.path(pgdata::timeline_of_segment(plan.manifest.archive_start),
                               plan.manifest.lsn_start.value_or(Lsn{}), plan.manifest.lsn_stop));
    plan.backup_timeline = path.backup;
    plan.target_timeline = path.target;
    plan.free_timeline = first_free(guide.timelines(), path.target + 1);
    plan.warnings.insert(plan.warnings.end(), guide.warnings().begin(), guide.warnings().end());
    const ControlFacts control = control_facts(request, plan);
    WalScanRequest scan_request{guide.archives(),   &plan.manifest,           &path,
                                &guide.timelines(), control.wal_segment_size, {},
                                request.stanza};
    // WAL behind the target is not needed, but has to be known of.
    const WalScan all = CHRONOS_TRY(scan_wal(scan_request));
    WalScan scan = all;
    if (plan.type == RecoveryType::lsn) {
        WalScanRequest to_target = scan_request;
        to_target.until = Lsn::parse(request.target);
        scan = CHRONOS_TRY(scan_wal(to_target));
    }
    plan.wal = scan.wal;
    judge_lost_archives(request, archives, plan);
    if (plan.type != RecoveryType::immediate) tell_of_other_wal(request, all.wal.last, plan);
    judge_xid(control, plan);
    judge_missing(request, scan, plan);
    const WalKnowledge known =
        look_into_wal(request, archives, path, scan_request.segment_size, plan);
    judge_same_second(request, scan_request, plan);
    judge_target(scan, plan);
    judge_reach(request, end_of_wal(request, archives, all.wal), known, scan_request, plan);
    // Behind the target a hole is no problem, but has to be known of.
    judge_hole(request, scan_request, all, known, plan);
    judge_barrier(request, scan_request, known, plan);
    return {};
}

/// The nearest directory above `path` that exists: where its file system can be asked.
std::string existing_parent(fs::path path) {
    while (!exists(path) && path.has_parent_path() && path != path.parent_path())
        path = path.parent_path();
    return path;
}

/// Adds up what goes to each file system and compares with what is free there.
void plan_space(RestorePlan& plan) {
    const repo::Manifest& manifest = plan.manifest;
    std::vector<Destination> destinations = destinations_of(manifest);
    // Longest names first: a file belongs to the innermost destination.
    std::sort(destinations.begin(), destinations.end(),
              [](const auto& a, const auto& b) { return a.name.size() > b.name.size(); });
    std::map<dev_t, RestoreSpace> space;
    std::map<std::string, dev_t> devices;
    for (const Destination& destination : destinations) {
        struct stat status {};
        struct statvfs free_space {};
        const std::string parent = existing_parent(destination.path);
        if (stat(parent.c_str(), &status) != 0 || statvfs(parent.c_str(), &free_space) != 0)
            continue;
        devices[destination.name] = status.st_dev;
        space[status.st_dev] = {destination.path, 0,
                                std::uint64_t{free_space.f_bavail} * free_space.f_frsize};
    }
    for (const repo::ManifestFile& file : manifest.files) {
        for (const Destination& destination : destinations) {
            if (!file.name.view().starts_with(destination.name)) continue;
            if (const auto device = devices.find(destination.name); device != devices.end())
                space[device->second].needed_bytes += file.size;
            break;
        }
    }
    for (const auto& [device, item] : space) {
        plan.space.push_back(item);
        if (item.needed_bytes <= item.free_bytes || plan.delta || plan.force) continue;
        plan.problems.push_back(
            {Error(ErrorKind::file_write, "restoring to '" + item.path + "' needs " +
                                              format_size(item.needed_bytes) + ", free are " +
                                              format_size(item.free_bytes)),
             /*certain=*/false});
    }
}

void judge_whole(RestorePlan& plan) {
    const std::string name(repo::missing_vital_file(plan.manifest));
    if (name.empty()) return;
    plan.problems.push_back(
        {Error(ErrorKind::format, "backup " + plan.manifest.label + " has no file '" + name +
                                      "': no server would start on it")
             .with_hint("The manifest is damaged or forged; --set chooses another backup.")});
}

void plan_sizes(RestorePlan& plan) {
    plan.random_access = repo::random_access(plan.manifest);
    for (const repo::ManifestFile& file : plan.manifest.files) {
        if (is_never_restored(plan, file.name)) continue;
        ++plan.file_count;
        plan.size_bytes += file.size;
        plan.stored_size_bytes += file.size == 0 ? 0 : file.repo_size;
    }
}

/// Type and target, as far as they do not depend on the backup.
Result<std::optional<TimeTarget>> plan_target(const RestoreRequest& request, RecoveryType type,
                                              UnixTime now, RestorePlan& plan) {
    plan.type = type;
    plan.target_setting = request.target;
    if (type != RecoveryType::time) return std::optional<TimeTarget>{};
    TimeTarget target = CHRONOS_TRY(judge_time_target(request, now));
    plan.target_us = target.instant_us;
    plan.target_setting = target.setting;
    return std::optional(std::move(target));
}

Result<> check_options_of_backup(const RestoreRequest& request, const RestorePlan& plan) {
    const unsigned major = major_of(plan.manifest.pg_version);
    if (request.archive_mode_off && major < 12)
        return Error(ErrorKind::option_invalid,
                     "option 'archive-mode' is not supported on PostgreSQL < 12")
            .with_hint("'archive_mode' should be manually set to 'off' in postgresql.conf.");
    for (const char* name : {"standby_mode", "standby-mode"})
        if (request.recovery_options.contains(name))
            return Error(ErrorKind::option_invalid,
                         "'standby_mode' setting is not valid for --recovery-option")
                .with_hint("use --type=standby instead of --recovery-option=standby_mode=on.");
    if (request.db_include.empty() && request.db_exclude.empty()) return {};
    CHRONOS_TRY(databases_to_zero(request, plan.manifest));
    return {};
}

/// The configuration of a cluster may lie outside of its data directory.
void load_outside(const RestoreRequest& request, const SelectedBackup& selected,
                  RestorePlan& plan) {
    auto kept =
        repo::load_outside_config(request.repositories[selected.repository_index], request.stanza,
                                  plan.manifest.label, selected.info.cipher_pass);
    if (kept)
        plan.outside = *std::move(kept);
    else
        plan.warnings.push_back(kept.error().message());
    if (plan.manifest.find_file("pg_data/postgresql.conf") == nullptr && plan.outside.empty())
        plan.warnings.push_back(
            "the backup has no postgresql.conf: the configuration of this cluster lies outside of "
            "its data directory (/etc/postgresql/<version>/<name> on Debian) and must be taken "
            "from "
            "elsewhere before a server can be started");
}

/// The backup was chosen, and its WAL looked for, by what backup.info says of it.
Result<> check_entry(const RestoreRequest& request, const SelectedBackup& selected,
                     const repo::Manifest& manifest) {
    const std::string hint = "'chronos --stanza=" + request.stanza +
                             " repair --force' writes backup.info anew from the manifests.";
    const std::string keys = repo::entry_difference(selected.entry, repo::backup_entry_of(manifest),
                                                    /*decisive_only=*/true);
    if (!keys.empty())
        return Error(ErrorKind::format, "backup.info says something else of backup " +
                                            manifest.label + " than its manifest does: " + keys)
            .with_hint(hint);
    const auto cluster =
        std::ranges::find(selected.info.history, manifest.history_id, &repo::HistoryEntry::id);
    if (cluster != selected.info.history.end() && cluster->system_id == manifest.system_id &&
        cluster->version == manifest.pg_version)
        return {};
    return Error(ErrorKind::format,
                 "backup " + manifest.label + " is of a cluster (version " + manifest.pg_version +
                     ", system-id " + std::to_string(manifest.system_id) +
                     ") that backup.info does not know as " + std::to_string(manifest.history_id))
        .with_hint(hint);
}

Result<> load_selected(const RestoreRequest& request, const SelectedBackup& selected,
                       RestorePlan& plan) {
    const repo::Repository& repository = request.repositories[selected.repository_index];
    plan.repository_index = selected.repository_index;
    plan.repo_key = repository.key;
    plan.reason = selected.reason;
    plan.manifest = CHRONOS_TRY(repo::load_manifest(
        repository, request.stanza, selected.entry.label, selected.info.cipher_pass));
    if (auto valid = repo::validate_manifest(plan.manifest); !valid)
        return std::move(valid).error().with_hint(
            "No backup lists such a thing by itself: the manifest is damaged or forged, and "
            "nothing has been changed. --set chooses another backup.");
    if (plan.manifest.label != selected.entry.label)
        return Error(ErrorKind::format, "requested backup '" + selected.entry.label +
                                            "' and manifest label '" + plan.manifest.label +
                                            "' do not match")
            .with_hint(
                "this indicates some sort of corruption (at the very least paths have been "
                "renamed).");
    CHRONOS_TRY(check_entry(request, selected, plan.manifest));
    load_outside(request, selected, plan);
    bound_modes(plan.manifest);
    const bool online = plan.manifest.options.online;
    if (!request.type && !online) plan.type = RecoveryType::none;
    std::string note =
        "repo" + std::to_string(plan.repo_key) + ": restore backup set " + plan.manifest.label;
    if (online)
        note += ", recovery will start at " +
                format_local_time(plan.manifest.timestamp_start).substr(0, 19);
    plan.notes.push_back(std::move(note));
    return {};
}

/// What the plan is going to read of the backup one after the other, where each is a round trip.
void read_ahead(const RestoreRequest& request, const RestorePlan& plan) {
    const repo::Repository& repository = request.repositories[plan.repository_index];
    if (!repository.storage->features().remote) return;
    std::vector<std::function<Result<>()>> questions;
    for (const char* name :
         {"pg_data/global/pg_control", "pg_data/postgresql.conf", "pg_data/postgresql.auto.conf"})
        if (const repo::ManifestFile* file = plan.manifest.find_file(name))
            questions.push_back([&, file]() -> Result<> {
                // Who needs it reads it from what is at hand then, or says what is wrong with it.
                static_cast<void>(repo::read_small_file(repository, request.stanza, plan.manifest,
                                                        *file, storage::ListedOnce::kRangeMax));
                return {};
            });
    static_cast<void>(storage::at_once(*repository.storage, questions));
}

/// What a restore cleans, or fills, must not be where it reads.
void check_repositories(const RestoreRequest& request, RestorePlan& plan) {
    std::vector<repo::Place> places;
    for (const Destination& destination : destinations_of(plan.manifest))
        if (destination.file.empty())
            places.push_back({destination.name == "pg_data" ? "data directory" : destination.name,
                              destination.path});
    for (const repo::Repository& repository : request.repositories)
        if (auto checked = repo::check_repository_place(repository, places); !checked)
            plan.problems.push_back({std::move(checked).error()});
}

}  // namespace

Result<RestorePlan> plan_restore(const RestoreRequest& given) {
    CHRONOS_TRY(check_restore_request(given));
    RestoreRequest request = given;
    for (repo::Repository& repository : request.repositories)
        repository.storage = std::make_shared<storage::ListedOnce>(std::move(repository.storage));
    for (const repo::Repository& repository : request.repositories)
        for (const std::string& name :
             {repo::backup_info_name(request.stanza), repo::archive_info_name(request.stanza)})
            repository.storage->read_ahead(name);
    for (const char* name : {"recovery_target_timeline", "recovery-target-timeline"})
        if (const auto option = request.recovery_options.find(name);
            option != request.recovery_options.end() && request.target_timeline.empty())
            request.target_timeline = option->second;
    RestorePlan plan;
    if (!request.reason.empty()) plan.notes.push_back("reason: " + printable(request.reason));
    if (auto stopped = refuse_running(request.pg_path); !stopped)
        plan.problems.push_back({std::move(stopped).error()});
    decide_replacement(request, plan);
    const UnixTime now = request.now != 0 ? request.now : unix_now();
    const RecoveryType type = request.type.value_or(RecoveryType::default_);
    const auto target = CHRONOS_TRY(plan_target(request, type, now, plan));
    const SelectedBackup selected = CHRONOS_TRY(select_backup(request, type, target));
    plan.warnings.insert(plan.warnings.end(), selected.warnings.begin(), selected.warnings.end());
    CHRONOS_TRY(load_selected(request, selected, plan));
    CHRONOS_TRY(check_options_of_backup(request, plan));
    read_ahead(request, plan);
    CHRONOS_TRY(plan_wal(request, selected.guide, plan));
    plan.required_parameters.raise(request.parameters_at_least);
    CHRONOS_TRY(map_manifest(request, plan));
    plan_settings(request, plan);
    guard_other_clusters(request, plan);
    warn_of_living_original(request, plan);
    warn_of_unarchived(request, plan);
    const Ownership ownership(plan.manifest, request.pg_path);
    for (const std::string& warning : ownership.warnings()) plan.warnings.push_back(warning);
    CHRONOS_TRY(judge_page_errors(request, plan));
    judge_whole(plan);
    CHRONOS_TRY(judge_stored_objects(request, plan));
    check_repositories(request, plan);
    for (const Destination& destination : destinations_of(plan.manifest))
        if (auto checked = check_destination(plan, destination); !checked)
            plan.problems.push_back({std::move(checked).error()});
    plan_sizes(plan);
    plan_space(plan);
    return plan;
}

}  // namespace chronos::ops::restore
