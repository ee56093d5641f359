#include "ops/restore/timeline.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <set>

#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/pgdata/wal.h"
#include "chronos/pgdata/wal_commits.h"
#include "chronos/repo/side/kept_aside.h"
#include "chronos/repo/side/restore_note.h"
#include "chronos/repo/side/wal_notes.h"
#include "chronos/repo/wal_archive.h"
#include "ops/restore/target.h"

namespace chronos::ops::restore {
namespace {

std::string number_text(Timeline timeline) {
    return std::to_string(timeline);
}

std::string prefix_of(Timeline timeline) {
    return pgdata::timeline_history_name(timeline).substr(0, 8);
}

/// The option, or the setting that somebody gives as one.
std::string wanted_timeline(const RestoreRequest& request) {
    if (!request.target_timeline.empty()) return request.target_timeline;
    for (const char* name : {"recovery_target_timeline", "recovery-target-timeline"})
        if (const auto option = request.recovery_options.find(name);
            option != request.recovery_options.end())
            return option->second;
    return "";
}

struct LastSegment {
    std::string name;     ///< "" if the timeline has none
    UnixTime stored = 0;  ///< of the youngest file beside it
};

/// Of a timeline, in the directory of an archive.
Result<LastSegment> last_segment_on(storage::Storage& storage, const std::string& directory,
                                    Timeline timeline) {
    LastSegment last;
    const auto parts = CHRONOS_TRY(storage.list(directory, prefix_of(timeline)));
    for (auto part = parts.rbegin(); part != parts.rend() && last.name.empty(); ++part) {
        if (!repo::is_wal_directory(part->name)) continue;
        for (const auto& entry : CHRONOS_TRY(storage.list(directory + "/" + part->name))) {
            if (!repo::is_archived_segment(entry)) continue;
            last.name = std::max(last.name, entry.name.substr(0, pgdata::kWalSegmentNameSize));
            last.stored = std::max(last.stored, entry.modified);
        }
    }
    return last;
}

/// WAL of the timeline has come behind what was there when the note was made. By name: times have
/// seconds only, and those of a bucket are another machine's.
bool has_gone_on(const repo::RestoreNote& note, const LastSegment& last) {
    if (note.last_segment.empty()) return last.stored > note.made;
    return last.name > note.last_segment;
}

std::string option_for(Timeline timeline) {
    return "--target-timeline=" + number_text(timeline);
}

Error forked_too_early(Timeline target, Timeline backup, Lsn fork, Lsn lsn) {
    return Error(ErrorKind::db_mismatch, "target timeline " + number_text(target) +
                                             " forked from backup timeline " + number_text(backup) +
                                             " at " + fork.str() +
                                             " which is before backup lsn of " + lsn.str())
        .with_hint("was the target timeline created by accidentally promoting a standby?")
        .with_hint(
            "was the target timeline created by testing a restore without --archive-mode=off?")
        .with_hint("was the backup made after the target timeline was created?")
        .with_hint(option_for(backup) + " recovers this backup on its own timeline.");
}

Error not_in_history(Timeline target, Timeline backup, Lsn lsn) {
    return Error(ErrorKind::db_mismatch,
                 "backup timeline " + number_text(backup) + ", lsn " + lsn.str() +
                     " is not in the history of target timeline " + number_text(target))
        .with_hint("was the target timeline created by promoting from a timeline < latest?")
        .with_hint(option_for(backup) + " recovers this backup on its own timeline.");
}

}  // namespace

unsigned major_of(std::string_view version) {
    return static_cast<unsigned>(parse_uint(version.substr(0, version.find('.'))).value_or(0));
}

void note_restore(const RestoreRequest& request, const RestorePlan& plan) {
    // Only what can archive can begin a timeline there.
    if (!has_recovery_target(plan.type) || request.archive_mode_off || !request.durable ||
        plan.target_timeline == 0)
        return;
    repo::RestoreNote note;
    note.made = unix_now();
    note.timeline = plan.target_timeline;
    note.pg_path = request.pg_path;
    note.target = "--type=" + std::string(recovery_type_name(plan.type));
    if (!request.target.empty()) note.target += " --target='" + request.target + "'";
    for (const repo::Repository& repository : request.repositories) {
        const auto info = repo::load_archive_info(repository, request.stanza);
        if (!info) continue;
        for (const repo::HistoryEntry& entry : info->history) {
            if (entry.version != plan.manifest.pg_version ||
                entry.system_id != plan.manifest.system_id)
                continue;
            const std::string directory =
                repo::archive_path(request.stanza) + "/" + entry.archive_id();
            const auto last = last_segment_on(*repository.storage, directory, note.timeline);
            note.last_segment = last ? last->name : "";
            const Result<> saved = repo::save_restore_note(
                repository, request.stanza, entry.archive_id(), note, info->cipher_pass);
            if (!saved)
                log_warn("repo" + std::to_string(repository.key) +
                         ": that this restore was made is not on record there: " +
                         saved.error().message());
        }
    }
}

Result<TimelineGuide> TimelineGuide::load(const RestoreRequest& request, const TimelineWish& wish,
                                          std::vector<ArchiveLocation> archives,
                                          std::vector<repo::BackupEntry> backups,
                                          const std::string& pg_version) {
    TimelineGuide guide;
    guide.wish_ = wish;
    guide.stanza_ = request.stanza;
    guide.archives_ = std::move(archives);
    guide.backups_ = std::move(backups);
    for (const ArchiveLocation& archive : guide.archives_) {
        const repo::Timelines known = CHRONOS_TRY(repo::load_timelines(
            *archive.repository, request.stanza, archive.archive_id, archive.cipher_pass));
        guide.name_lost_histories(archive, known);
        repo::merge_timelines(guide.timelines_, known);
    }
    for (const ArchiveLocation& archive : guide.archives_)
        for (const repo::KeptAside& one : CHRONOS_TRY(
                 repo::list_kept_aside(*archive.repository, request.stanza, archive.archive_id)))
            if (pgdata::is_timeline_history(one.name))
                guide.warnings_.push_back("a second server began timeline " +
                                          number_text(pgdata::timeline_of_segment(one.name)) +
                                          " too; its WAL is not in the archive, its history is '" +
                                          archive.repository->storage->describe(one.object) + "'");
    for (const repo::BackupEntry& backup : guide.backups_) guide.timelines_.add_backup(backup);
    for (const std::string& contradiction : guide.timelines_.contradictions)
        guide.warnings_.push_back(contradiction);
    CHRONOS_TRY(guide.find_newest());
    CHRONOS_TRY(guide.decide(request, pg_version));
    return guide;
}

/// It is known what they said, but only as long as the later file is there.
void TimelineGuide::name_lost_histories(const ArchiveLocation& archive,
                                        const repo::Timelines& known) {
    for (const auto& [timeline, way] : known.ways)
        if (known.is_lost(timeline))
            warnings_.push_back("repo" + std::to_string(archive.repository->key) + ": " +
                                pgdata::timeline_history_name(timeline) +
                                " is lost; it is known from the history of timeline " +
                                number_text(way.told_by) + ", and 'chronos --stanza=" + stanza_ +
                                " repair --force' puts it back");
}

Result<> TimelineGuide::find_newest() {
    newest_ = timelines_.newest();
    Timeline of_backups = 0;
    for (const repo::BackupEntry& backup : backups_)
        if (!backup.archive_start.empty())
            of_backups = std::max(of_backups, pgdata::timeline_of_segment(backup.archive_start));
    for (const ArchiveLocation& archive : archives_) {
        storage::Storage& storage = *archive.repository->storage;
        for (const storage::Entry& entry : CHRONOS_TRY(storage.list(archive.directory))) {
            if (!repo::is_wal_directory(entry.name)) continue;
            const Timeline timeline = pgdata::timeline_of_segment(entry.name);
            if (timeline <= 1 || timeline <= newest_ || timeline <= of_backups ||
                timeline <= orphan_)
                continue;
            for (const auto& file : CHRONOS_TRY(storage.list(archive.directory + "/" + entry.name)))
                if (repo::is_archived_segment(file)) orphan_ = timeline;
        }
    }
    newest_ = std::max(newest_, of_backups);
    return {};
}

Result<> TimelineGuide::decide(const RestoreRequest& request, const std::string& pg_version) {
    const std::string wanted = wanted_timeline(request);
    // PostgreSQL 12 made 'latest' the default of recovery_target_timeline.
    const bool follows = major_of(pg_version) >= 12 && wish_.type != RecoveryType::immediate &&
                         wish_.type != RecoveryType::none && wish_.type != RecoveryType::preserve;
    if (wanted == "current" || (wanted.empty() && !follows)) {
        current_ = true;
        return {};
    }
    if (!wanted.empty() && wanted != "latest") {
        target_ = CHRONOS_TRY(parse_timeline(wanted));
    } else {
        target_ = timelines_.newest() >= newest_ ? timelines_.newest() : 0;
    }
    if (!wanted.empty()) return {};
    for (const auto& [timeline, why] : timelines_.damaged)
        if (timeline >= newest_)
            refused_ =
                Error(ErrorKind::db_mismatch, "the history of timeline " + number_text(timeline) +
                                                  " in the archive cannot be read: " + why)
                    .with_hint(
                        "Push the file again from pg_wal of a server that was on "
                        "that timeline, or choose another one with "
                        "--target-timeline.");
    if (orphan_ > newest_)
        refused_ =
            Error(ErrorKind::db_mismatch, "the archive has WAL of timeline " +
                                              number_text(orphan_) + " (" + what_is_on(orphan_) +
                                              "), but its history is lost")
                .with_hint("Push " + pgdata::timeline_history_name(orphan_) +
                           " again, with archive-push from pg_wal of a server that was on it.")
                .with_hint(option_for(std::max<Timeline>(newest_, 1)) +
                           " restores without what was written on timeline " +
                           number_text(orphan_) + ".");
    if (!refused_ && target_ != 0) CHRONOS_TRY(judge_forks());
    if (!refused_ && (wish_.type == RecoveryType::default_ || wish_.type == RecoveryType::standby))
        CHRONOS_TRY(judge_note(request));
    return name_branches();
}

/// Timelines that are not on the way, and that nobody would miss before it is too late: also those
/// of which nothing but their WAL is known. The first one has no history that could be lost.
Result<> TimelineGuide::name_branches() {
    const Timeline target = target_of(newest_);
    const repo::Timelines::Way* way = timelines_.way_to(target);
    std::set<Timeline> branches = timelines_.with_directories;
    for (const auto& [timeline, own] : timelines_.ways) branches.insert(timeline);
    for (const Timeline timeline : branches) {
        const bool on_way = way != nullptr && std::ranges::find(way->switches, timeline,
                                                                &pgdata::TimelineSwitch::parent) !=
                                                  way->switches.end();
        if (timeline <= 1 || timeline == target || on_way) continue;
        for (const ArchiveLocation& archive : archives_) {
            if (CHRONOS_TRY(
                    last_segment_on(*archive.repository->storage, archive.directory, timeline))
                    .name.empty())
                continue;
            warnings_.push_back("timeline " + number_text(timeline) + ", " + origin_of(timeline) +
                                ", is not on the way to timeline " + number_text(target) +
                                ": what was written on it (" + what_is_on(timeline) +
                                ") is not restored");
            break;
        }
    }
    return {};
}

std::string TimelineGuide::origin_of(Timeline timeline) const {
    if (const repo::Timelines::Way* own = timelines_.way_to(timeline))
        return "which left timeline " + number_text(own->switches.back().parent) + " at " +
               own->switches.back().switch_lsn.str();
    return timelines_.damaged.contains(timeline) ? "whose history cannot be read"
                                                 : "whose history is lost";
}

/// A recovery to a point in time whose timeline never reached the archive: its server may have been
/// lost before, or it was a test that nobody went on with.
Result<> TimelineGuide::judge_note(const RestoreRequest& request) {
    for (const ArchiveLocation& archive : archives_) {
        const auto note = repo::load_restore_note(*archive.repository, stanza_, archive.archive_id,
                                                  archive.cipher_pass);
        if (!note || !*note || (*note)->timeline != std::max<Timeline>(newest_, 1)) continue;
        // The same directory, still in recovery: nothing was begun there yet.
        if (::access((request.pg_path + "/recovery.signal").c_str(), F_OK) == 0 &&
            request.pg_path == (*note)->pg_path)
            continue;
        if (has_gone_on(**note, CHRONOS_TRY(last_segment_on(*archive.repository->storage,
                                                            archive.directory, (*note)->timeline))))
            continue;
        const std::string number = number_text((*note)->timeline);
        const std::string what = "'" + printable((*note)->pg_path) + "' was restored with " +
                                 printable((*note)->target) + " at " +
                                 format_local_time((*note)->made) +
                                 ", and no WAL has come since: if a server was opened there, it "
                                 "gave up what timeline " +
                                 number + " has behind that target";
        // A standby goes where its primary goes, if that is not behind it already.
        if (request.pg_path != (*note)->pg_path || wish_.type == RecoveryType::standby) {
            warnings_.push_back(what);
            return {};
        }
        refused_ = Error(ErrorKind::db_mismatch, what)
                       .with_hint(option_for((*note)->timeline) + " restores all of timeline " +
                                  number + ".")
                       .with_hint("The same options as then (" + printable((*note)->target) +
                                  ") restore what that server began with.");
        return {};
    }
    return {};
}

Timeline TimelineGuide::target_of(Timeline backup) const {
    if (current_) return backup;
    return target_ != 0 ? target_ : std::max(backup, newest_);
}

bool TimelineGuide::leads(const repo::BackupEntry& backup) const {
    if (backup.archive_start.empty() || archives_.empty()) return true;
    const Timeline own = pgdata::timeline_of_segment(backup.archive_start);
    const Lsn start = backup.lsn_start.value_or(Lsn{});
    return static_cast<bool>(path(own, start, backup.lsn_stop));
}

Result<TimelinePath> TimelineGuide::path(Timeline backup, Lsn lsn_start,
                                         std::optional<Lsn> lsn_stop) const {
    TimelinePath path;
    path.backup = backup;
    path.newest = std::max(backup, newest_);
    path.target = target_of(backup);
    if (path.target == backup) return path;
    const repo::Timelines::Way* way = timelines_.way_to(path.target);
    if (way == nullptr) {
        const auto damaged = timelines_.damaged.find(path.target);
        std::string message = archives_.empty() ? pgdata::timeline_history_name(path.target)
                                                : archives_.front().repository->storage->describe(
                                                      archives_.front().directory + "/" +
                                                      pgdata::timeline_history_name(path.target));
        if (damaged != timelines_.damaged.end())
            return Error(ErrorKind::format, "unable to use '" + message + "': " + damaged->second);
        return Error(ErrorKind::not_found, "unable to open missing file '" + message +
                                               "' for read: nothing says where timeline " +
                                               number_text(path.target) + " comes from");
    }
    const auto switches = pgdata::effective_switches(way->switches);
    const auto line = std::ranges::find(switches, backup, &pgdata::TimelineSwitch::parent);
    if (line == switches.end()) return not_in_history(path.target, backup, lsn_start);
    // Before its end a backup is not consistent: PostgreSQL refuses to leave the timeline there.
    if (line->switch_lsn <= lsn_start || (lsn_stop && line->switch_lsn < *lsn_stop))
        return forked_too_early(path.target, backup, line->switch_lsn, lsn_start);
    path.switches.assign(line, switches.end());
    return path;
}

Error TimelineGuide::nothing_leads() const {
    Error error(
        ErrorKind::db_mismatch,
        "no backup leads to timeline " + number_text(target_of(newest_)) +
            ": it was left before the oldest of them ended, or they are of other timelines");
    std::vector<Timeline> offered;
    for (auto backup = backups_.rbegin(); backup != backups_.rend(); ++backup) {
        if (backup->archive_start.empty()) continue;
        const Timeline own = pgdata::timeline_of_segment(backup->archive_start);
        if (std::ranges::find(offered, own) != offered.end()) continue;
        offered.push_back(own);
        error = std::move(error).with_hint(option_for(own) + " recovers backup " + backup->label +
                                           " on its own timeline (" + what_is_on(own) + ").");
    }
    return error;
}

// What is left behind -----------------------------------------------------------------------------

Result<> TimelineGuide::judge_forks() {
    const repo::Timelines::Way* way = timelines_.way_to(target_);
    if (way == nullptr) return {};
    constexpr std::size_t kForksMax = 8;  // what was left long ago has been expired
    const auto switches = pgdata::effective_switches(way->switches);
    const std::size_t from = switches.size() > kForksMax ? switches.size() - kForksMax : 0;
    for (std::size_t i = from; i < switches.size(); ++i) {
        const Timeline child = i + 1 < switches.size() ? switches[i + 1].parent : target_;
        const Behind behind =
            CHRONOS_TRY(look_behind(switches[i].parent, child, switches[i].switch_lsn));
        if (behind.count == 0 && !behind.commits) continue;
        // Up to the fork both are the same.
        if (wish_.target_lsn && *wish_.target_lsn <= behind.left) continue;
        if (wish_.target_us && behind.left_us && *wish_.target_us <= *behind.left_us) continue;
        if (behind.goes_on && !is_settled(behind)) {
            refused_ = both_went_on(behind);
            return {};
        }
        const repo::Timelines::Way* born = timelines_.way_to(child);
        if (wish_.target_us && born != nullptr && *wish_.target_us / 1000000 < born->stored) {
            refused_ = lies_in_what_was_given_up(behind);
            return {};
        }
        warnings_.push_back("timeline " + number_text(child) + " left timeline " +
                            number_text(behind.parent) + " at " + behind.left.str() + ": " +
                            what_is_behind(behind) + " is not restored; " +
                            option_for(behind.parent) + " follows that timeline instead");
    }
    return {};
}

Result<TimelineGuide::Behind> TimelineGuide::look_behind(Timeline parent, Timeline child,
                                                         Lsn left) const {
    Behind behind;
    behind.parent = parent;
    behind.child = child;
    behind.left = left;
    for (const ArchiveLocation& archive : archives_) {
        CHRONOS_TRY(look_at_archive(archive, behind));
        CHRONOS_TRY(look_at_stream(archive, behind));
    }
    if (behind.count == 0 && !behind.commits) return behind;
    if (const auto note = last_commit_on(parent); note && note->end > left)
        behind.last_us = std::max(behind.last_us.value_or(0), note->time_us);
    return behind;
}

Result<> TimelineGuide::look_at_archive(const ArchiveLocation& archive, Behind& behind) const {
    storage::Storage& storage = *archive.repository->storage;
    const repo::Timelines::Way* born = timelines_.way_to(behind.child);
    // Files that were copied without their times say nothing of what came first: then segments that
    // must have been there when the timeline was left are younger than it - more of them than an
    // archiver that lags behind a streaming standby accounts for.
    constexpr std::size_t kLagMax = 2;
    std::size_t younger = 0;
    bool goes_on = false;
    std::uint32_t size = 0;
    std::string fork;
    for (const auto& part :
         CHRONOS_TRY(storage.list(archive.directory, prefix_of(behind.parent)))) {
        if (!repo::is_wal_directory(part.name)) continue;
        // Of all directories but the last before the fork only the names are looked at.
        if (size != 0 && part.name < repo::wal_directory(fork)) continue;
        for (const auto& entry : CHRONOS_TRY(storage.list(archive.directory + "/" + part.name))) {
            if (!repo::is_archived_segment(entry)) continue;
            const std::string object = archive.directory + "/" + part.name + "/" + entry.name;
            if (size == 0) {
                const auto content =
                    repo::read_archived_segment(*archive.repository, object, archive.cipher_pass);
                const auto header = content ? pgdata::parse_wal_header(io::bytes(*content))
                                            : Result<pgdata::WalHeader>(content.error());
                if (!header) continue;
                size = header->segment_size;
                fork = pgdata::wal_segment_name(behind.parent, behind.left, size);
                if (part.name < repo::wal_directory(fork)) break;
            }
            const std::string name = entry.name.substr(0, pgdata::kWalSegmentNameSize);
            if (name < fork) {
                if (born != nullptr && entry.modified > born->stored) ++younger;
                continue;
            }
            if (name == fork && behind.left.value % size != 0) {
                CHRONOS_TRY(look_at_fork(archive, object, entry.modified, behind));
                goes_on = goes_on || (behind.commits && born && entry.modified > born->stored);
                continue;
            }
            if (name > behind.last) {
                ++behind.count;
                behind.last = name;
            }
            behind.last_stored = std::max(behind.last_stored, entry.modified);
            goes_on = goes_on || (born != nullptr && entry.modified > born->stored);
        }
    }
    behind.goes_on = behind.goes_on || (goes_on && younger <= kLagMax);
    if (behind.left_us || size == 0) return {};
    const std::string before =
        pgdata::wal_segment_name_before(behind.parent, pgdata::wal_segment_start(fork, size), size);
    const auto note = CHRONOS_TRY(repo::last_commit_note(
        *archive.repository, stanza_, archive.archive_id,
        prefix_of(behind.parent) + std::string(16, '0'), before, archive.cipher_pass));
    if (note) behind.left_us = note->time_us;
    return {};
}

Result<> TimelineGuide::look_at_fork(const ArchiveLocation& archive, const std::string& object,
                                     UnixTime stored, Behind& behind) const {
    const std::string content =
        CHRONOS_TRY(repo::read_archived_segment(*archive.repository, object, archive.cipher_pass));
    const auto header = pgdata::parse_wal_header(io::bytes(content));
    if (!header || header->page_address > behind.left) return {};
    if (behind.left.value - header->page_address.value > content.size()) return {};
    if (const auto last = pgdata::last_commit(io::bytes(content), header->page_address);
        last && last->end > behind.left) {
        behind.commits = true;
        behind.last_us = std::max(behind.last_us.value_or(0), last->time_us);
        behind.last_stored = std::max(behind.last_stored, stored);
    }
    if (const auto last =
            pgdata::last_commit_before(io::bytes(content), header->page_address, behind.left))
        behind.left_us = last->time_us;
    return {};
}

/// What was streamed behind the fork and has a commit in it.
Result<> TimelineGuide::look_at_stream(const ArchiveLocation& archive, Behind& behind) const {
    const repo::Timelines::Way* born = timelines_.way_to(behind.child);
    for (const repo::WalPiece& piece :
         CHRONOS_TRY(repo::list_wal_pieces(*archive.repository, stanza_, archive.archive_id))) {
        if (pgdata::timeline_of_segment(piece.segment) != behind.parent || piece.commit_us == 0)
            continue;
        const auto note = behind.left_us.value_or(0);
        if (born == nullptr || piece.stored <= born->stored || piece.commit_us <= note) continue;
        behind.commits = behind.goes_on = true;
        behind.last_stored = std::max(behind.last_stored, piece.stored);
        behind.last_us = std::max(behind.last_us.value_or(0), piece.commit_us);
    }
    return {};
}

/// A backup of the new timeline that was begun after the old one had stopped: somebody works there.
bool TimelineGuide::is_settled(const Behind& behind) const {
    return std::ranges::any_of(backups_, [&](const repo::BackupEntry& backup) {
        if (backup.archive_start.empty() || backup.timestamp_start <= behind.last_stored)
            return false;
        const Timeline own = pgdata::timeline_of_segment(backup.archive_start);
        return own != behind.parent && own >= behind.child && leads(backup);
    });
}

std::optional<repo::CommitNote> TimelineGuide::last_commit_on(Timeline timeline) const {
    std::optional<repo::CommitNote> best;
    for (const ArchiveLocation& archive : archives_) {
        const auto note =
            repo::last_commit_note(*archive.repository, stanza_, archive.archive_id,
                                   prefix_of(timeline) + std::string(16, '0'),
                                   prefix_of(timeline) + std::string(16, 'F'), archive.cipher_pass);
        if (note && *note && (!best || (*note)->time_us > best->time_us)) best = **note;
    }
    return best;
}

std::string TimelineGuide::what_is_on(Timeline timeline) const {
    const auto note = last_commit_on(timeline);
    if (!note) return "time of its last commit not known";
    return "last commit in the archive at " + format_instant(note->time_us);
}

std::string TimelineGuide::what_is_behind(const Behind& behind) const {
    std::string text = "what timeline " + number_text(behind.parent) + " has behind it (";
    if (behind.count > 0)
        text += std::to_string(behind.count) + " segments up to " + behind.last;
    else
        text += "a part of a segment";
    if (behind.last_us) text += ", last commit at " + format_instant(*behind.last_us);
    if (behind.last_stored != 0) text += ", stored at " + format_local_time(behind.last_stored);
    return text + ")";
}

Error TimelineGuide::both_went_on(const Behind& behind) const {
    const std::string parent = number_text(behind.parent);
    const std::string target = number_text(target_);
    return Error(ErrorKind::db_mismatch,
                 "timeline " + number_text(behind.child) + " left timeline " + parent + " at " +
                     behind.left.str() + ", and both went on: " + what_is_behind(behind) +
                     " is not on timeline " + target + " (" + what_is_on(target_) +
                     "); no restore has both")
        .with_hint(option_for(behind.parent) + " restores timeline " + parent +
                   " and loses what was written on timeline " + target + ".")
        .with_hint(option_for(target_) + " restores timeline " + target + " and loses " +
                   what_is_behind(behind) + ".")
        .with_hint(
            "A standby that was promoted by accident, or a test restore without "
            "--archive-mode=off, leaves such a timeline: then the one where work goes on is "
            "the one to choose.");
}

Error TimelineGuide::lies_in_what_was_given_up(const Behind& behind) const {
    const std::string parent = number_text(behind.parent);
    return Error(ErrorKind::db_mismatch,
                 "at " + format_instant(*wish_.target_us) + " the server was on timeline " +
                     parent + ", which timeline " + number_text(behind.child) + " left at " +
                     behind.left.str() + ", before that time: " + what_is_behind(behind) +
                     " was given up")
        .with_hint(option_for(behind.parent) + " restores timeline " + parent +
                   " as it was at that time.")
        .with_hint(option_for(target_) + " restores what timeline " + number_text(target_) +
                   " had at that time: the data at the fork.");
}

}  // namespace chronos::ops::restore
