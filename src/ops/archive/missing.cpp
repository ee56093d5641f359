#include "ops/archive/missing.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <set>

#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/ops/archive/spool.h"
#include "chronos/os/file.h"
#include "chronos/pgdata/wal_commits.h"
#include "chronos/pgdata/wal_extent.h"
#include "chronos/repo/info.h"
#include "chronos/repo/side/wal_notes.h"
#include "chronos/repo/stanza.h"
#include "chronos/repo/timelines.h"
#include "chronos/repo/wal_archive.h"
#include "ops/archive/tablespaces.h"
#include "ops/archive/targets.h"
#include "ops/archive/verified_file.h"

namespace chronos::ops::archive {
namespace {

using Kind = pgdata::RecoveryState::Kind;

/// Segments are pushed several at a time: one may come after those behind it, but not by more.
constexpr UnixTime kOnItsWay = 10;

std::string hex_of(Timeline timeline) {
    return pgdata::timeline_history_name(timeline).substr(0, 8);
}

/// A part of the archive of one cluster.
struct Archive {
    const repo::Repository* repository = nullptr;
    std::string archive_id;
    std::string passphrase;

    std::string directory(const std::string& stanza) const {
        return repo::archive_path(stanza) + "/" + archive_id;
    }
};

Result<std::vector<Archive>> archives_of(const GetSettings& settings,
                                         const repo::ClusterIdentity& cluster) {
    std::vector<Archive> archives;
    for (const repo::Repository& repository : settings.repositories) {
        const Result<repo::ArchiveInfo> info = repo::load_archive_info(repository, settings.stanza);
        if (!info) return mark_transient(info.error());
        for (const repo::HistoryEntry& entry : info->history)
            if (cluster.is(entry))
                archives.push_back({&repository, entry.archive_id(), info->cipher_pass});
    }
    return archives;
}

/// What the listed backups of the cluster tell of how far its WAL went.
Result<> add_backups(const GetSettings& settings, const repo::ClusterIdentity& cluster,
                     repo::Timelines& timelines) {
    for (const repo::Repository& repository : settings.repositories) {
        const auto info = repo::load_backup_info(repository, settings.stanza);
        // A stanza that only archives has none.
        if (!info && info.error().kind() == ErrorKind::not_found) continue;
        if (!info) return mark_transient(info.error());
        std::set<std::uint64_t> own;
        for (const repo::HistoryEntry& entry : info->history)
            if (cluster.is(entry)) own.insert(entry.id);
        for (const repo::BackupEntry& backup : info->backups)
            if (own.contains(backup.history_id)) timelines.add_backup(backup);
    }
    return {};
}

/// Of a standby, which is told no more than warnings of what else there is.
bool was_looked_into(const GetSettings& settings, const std::string& name) {
    return settings.answered != nullptr && settings.answered->was_answered(name);
}

/// An empty listing is also what a file system gives that went away: an answer counts only with
/// archive.info still there behind it, and with an archive, if it ever had one.
Result<GetOutcome> still_missing(const GetSettings& all, const repo::ClusterIdentity& cluster,
                                 bool looked_into = false) {
    GetSettings settings = all;
    // A store that answers from afar does not go away as a mount does.
    if (looked_into)
        std::erase_if(settings.repositories, [](const repo::Repository& repository) {
            return repository.storage->features().remote;
        });
    std::map<const repo::Repository*, std::vector<std::string>> ids;
    for (const Archive& archive : CHRONOS_TRY(archives_of(settings, cluster)))
        ids[archive.repository].push_back(archive.archive_id);
    for (const auto& [repository, own] : ids)
        CHRONOS_TRY(repo::check_archive_is_there(*repository, settings.stanza, own));
    return GetOutcome::missing;
}

Result<repo::Timelines> timelines_of(const GetSettings& settings,
                                     const std::vector<Archive>& archives) {
    repo::Timelines timelines;
    for (const Archive& archive : archives)
        repo::merge_timelines(
            timelines, CHRONOS_TRY(repo::load_timelines(*archive.repository, settings.stanza,
                                                        archive.archive_id, archive.passphrase)));
    return timelines;
}

/// Something that proves that there is, or was, WAL behind a segment.
struct Later {
    std::string what;
    UnixTime stored = 0;  ///< 0: long ago
};

class MissingSegment {
public:
    MissingSegment(const GetSettings& settings, const std::string& segment,
                   pgdata::ControlFile control)
        : settings_(settings),
          segment_(segment),
          control_(std::move(control)),
          recovery_(pgdata::read_recovery_state(settings.pg_path)),
          leg_(recovery_.leg_of(pgdata::timeline_of_segment(segment))) {}
    Result<GetOutcome> run();
    Result<> judge_unfinished(const pgdata::WalExtent& extent);
    Result<> judge_joint(const std::string& flaw);
    Result<> judge_tablespace_across(Lsn last_before, const pgdata::WalExtent& head,
                                     const std::string& file) const;
    bool is_recovery() const { return recovery_.kind != Kind::none; }
    /// Where the last record begins of the segment before, as the server has it in pg_wal; 0: not
    /// known.
    Lsn last_before() const;

private:
    Result<> refuse_to_end(Error error, Lsn end);
    Result<repo::Timelines> load();
    bool lies_in_pg_wal(const std::string& segment) const;
    bool begins_later(const repo::Timelines& timelines) const;
    Result<std::optional<Later>> find_later(const repo::Timelines& timelines) const;
    Result<std::optional<Later>> stored_behind(const Archive& archive) const;
    Result<std::optional<Later>> first_in(const Archive& archive,
                                          const std::string& directory) const;
    Error hole(const Later& later) const;
    std::uint64_t number() const {
        return pgdata::wal_segment_number(segment_, control_.wal_segment_size);
    }

    const GetSettings& settings_;
    const std::string& segment_;
    pgdata::ControlFile control_;
    pgdata::RecoveryState recovery_;
    std::optional<pgdata::RecoveryState::Leg> leg_;
    std::vector<Archive> archives_;
};

Result<repo::Timelines> MissingSegment::load() {
    const repo::ClusterIdentity cluster = repo::ClusterIdentity::of(control_);
    archives_ = CHRONOS_TRY(archives_of(settings_, cluster));
    repo::Timelines timelines = CHRONOS_TRY(timelines_of(settings_, archives_));
    const Result<> added = add_backups(settings_, cluster, timelines);
    // What a standby finds missing is said and no more.
    if (!added && recovery_.kind != Kind::standby) return added.error();
    if (!added)
        log_warn("what backups say of WAL behind " + segment_ +
                 " is not known: " + added.error().message());
    return timelines;
}

Result<> MissingSegment::judge_unfinished(const pgdata::WalExtent& extent) {
    const repo::Timelines timelines = CHRONOS_TRY(load());
    const std::optional<Later> later = CHRONOS_TRY(find_later(timelines));
    if (extent.flaw.empty() && !later) return {};
    return refuse_to_end(
        Error(kHole, "the WAL in segment " + segment_ + " ends at " + extent.end.str() +
                         ", but later WAL exists: " + (later ? later->what : extent.flaw) +
                         ". Recovery stops: to end here would lose that WAL"),
        extent.end);
}

Result<> MissingSegment::judge_joint(const std::string& flaw) {
    const Lsn begin = pgdata::wal_segment_start(segment_, control_.wal_segment_size);
    return refuse_to_end(Error(kHole, "WAL segment " + segment_ + " " + flaw +
                                          ". Recovery stops: to end here would lose its WAL"),
                         begin);
}

/// The server would take what was handed out up to there for all there is.
Result<> MissingSegment::refuse_to_end(Error error, Lsn end) {
    if (recovery_.kind == Kind::standby) {
        log_warn(error.message() + "; the standby goes on only if its primary has it");
        return {};
    }
    // Its target may lie before the end, and else the server stops by itself.
    constexpr unsigned kStopsShortOfTarget = 13;
    if (const auto version = parse_uint(repo::ClusterIdentity::of(control_).version);
        recovery_.must_reach && version && *version >= kStopsShortOfTarget) {
        log_warn("the WAL that can be recovered ends at " + end.str() + ": " + error.message() +
                 "; a recovery target behind it cannot be reached");
        return {};
    }
    return std::move(error).with_hint(
        "The segment is damaged. Restore again with a target before that position, or, if another "
        "copy of it exists (pg_wal of a standby), put that in the archive in its place.");
}

Result<GetOutcome> MissingSegment::run() {
    // The server takes its own when the archive has none.
    if (lies_in_pg_wal(segment_)) {
        CHRONOS_TRY(TablespaceJudge(settings_.pg_path, control_, recovery_)
                        .judge_file(segment_, settings_.pg_path + "/pg_wal/" + segment_));
        return GetOutcome::missing;
    }
    if (was_looked_into(settings_, segment_))
        return still_missing(settings_, repo::ClusterIdentity::of(control_), true);
    const repo::Timelines timelines = CHRONOS_TRY(load());
    if (begins_later(timelines)) return GetOutcome::missing;
    const std::optional<Later> later = CHRONOS_TRY(find_later(timelines));
    if (!later) return still_missing(settings_, repo::ClusterIdentity::of(control_));
    Error error = hole(*later);
    if (recovery_.kind == Kind::standby) {
        log_warn(error.message() + "; the standby goes on only if its primary has it");
        return GetOutcome::missing;
    }
    // The clock of the repository may be ahead of this one.
    const UnixTime age = std::abs(unix_now() - later->stored);
    return age < kOnItsWay ? std::move(error).as_transient() : std::move(error);
}

/// Recycled segments lie there too, under names to come, with the header of an old one.
bool MissingSegment::lies_in_pg_wal(const std::string& segment) const {
    const std::string path = settings_.pg_path + "/pg_wal/" + segment;
    std::error_code code;
    const std::uint64_t size = std::filesystem::file_size(path, code);
    if (code || size != control_.wal_segment_size) return false;
    const std::string head = os::read_part_or_empty(path, 0, pgdata::kWalHeaderSize);
    if (head.empty()) return false;
    return static_cast<bool>(
        check_segment(io::bytes(head), segment, size, repo::ClusterIdentity::of(control_)));
}

Lsn MissingSegment::last_before() const {
    const std::uint32_t size = control_.wal_segment_size;
    const Lsn start = pgdata::wal_segment_start(segment_, size);
    if (start.value < size) return {};
    const std::string before =
        pgdata::wal_segment_name_before(pgdata::timeline_of_segment(segment_), start, size);
    if (!lies_in_pg_wal(before)) return {};
    const std::string file = settings_.pg_path + "/pg_wal/" + before;
    // From the end, where it is in a segment that is full; behind a switch there are zeros.
    constexpr std::uint32_t kPart = 1u << 17;
    for (std::uint32_t end = size; end > 0; end -= kPart) {
        const std::string content = os::read_part_or_empty(file, end - kPart, kPart);
        if (content.empty()) return {};
        if (const auto last =
                pgdata::last_begun(io::bytes(content), Lsn{start.value - size + end - kPart}))
            return *last;
    }
    return {};
}

/// Of a record that began in the segment before and is so small, its beginning is in the last page.
Result<> MissingSegment::judge_tablespace_across(Lsn last_before, const pgdata::WalExtent& head,
                                                 const std::string& file) const {
    const std::uint32_t size = control_.wal_segment_size;
    const std::uint64_t page = size - pgdata::kWalPageSize;
    if (head.rest.empty() || last_before.value % size < page) return {};
    const std::string before = pgdata::wal_segment_name_before(
        pgdata::timeline_of_segment(segment_), pgdata::wal_segment_start(segment_, size), size);
    const std::string last_page =
        os::read_part_or_empty(settings_.pg_path + "/pg_wal/" + before, page, pgdata::kWalPageSize);
    if (last_page.empty()) return {};
    pgdata::WalExtent end;
    end.last_begun = last_before;
    end.begun = last_page.substr(last_before.value % size - page);
    const auto created = pgdata::tablespace_across(end, head);
    if (!created) return {};
    return TablespaceJudge(settings_.pg_path, control_, recovery_)
        .judge({*created}, segment_, file);
}

/// Recovery asks the newest timeline of its way first, and that may not have begun yet.
bool MissingSegment::begins_later(const repo::Timelines& timelines) const {
    Lsn begin;
    if (leg_) {
        begin = leg_->begin;
    } else if (const auto* way = timelines.way_to(pgdata::timeline_of_segment(segment_))) {
        begin = way->switches.back().switch_lsn;
    }
    return number() < begin.value / control_.wal_segment_size;
}

Result<std::optional<Later>> MissingSegment::find_later(const repo::Timelines& timelines) const {
    const Timeline own = pgdata::timeline_of_segment(segment_);
    std::optional<Later> found;
    for (const Archive& archive : archives_) {
        std::optional<Later> one = CHRONOS_TRY(stored_behind(archive));
        // The oldest evidence: a segment that is long there does not wait for this one.
        if (one && (!found || one->stored < found->stored)) found = std::move(one);
    }
    if (found) return found;
    const std::uint32_t size = control_.wal_segment_size;
    if (leg_ && leg_->left) {
        if (leg_->left->value / size <= number()) return found;
        return Later{"timeline " + std::to_string(own) + " was left at " + leg_->left->str(), 0};
    }
    const std::uint64_t known = timelines.segments_known(own, size);
    if (known <= number()) return found;
    return Later{"a backup, or a later timeline, needed " +
                     pgdata::wal_segment_name(own, Lsn{(known - 1) * size}, size),
                 0};
}

/// The first whole segment behind, as far as the way goes; without one, what was streamed.
Result<std::optional<Later>> MissingSegment::stored_behind(const Archive& archive) const {
    storage::Storage& storage = *archive.repository->storage;
    const std::string directory = archive.directory(settings_.stanza);
    const std::string own(repo::wal_directory(segment_));
    std::optional<Later> found = CHRONOS_TRY(first_in(archive, own));
    if (!found) {
        for (const storage::Entry& entry :
             CHRONOS_TRY(storage.list(directory, segment_.substr(0, 8)))) {
            if (!repo::is_wal_directory(entry.name) || entry.name <= own) continue;
            found = CHRONOS_TRY(first_in(archive, entry.name));
            if (found) break;
        }
    }
    if (found) return found;
    for (const repo::WalPiece& piece : CHRONOS_TRY(
             repo::list_wal_pieces(*archive.repository, settings_.stanza, archive.archive_id))) {
        if (piece.segment.substr(0, 8) != segment_.substr(0, 8) || piece.segment <= segment_ ||
            is_behind_the_way(recovery_, piece.segment, control_.wal_segment_size))
            continue;
        return Later{"a part of " + piece.segment + " was streamed to repo" +
                         std::to_string(archive.repository->key),
                     piece.stored};
    }
    return found;
}

Result<std::optional<Later>> MissingSegment::first_in(const Archive& archive,
                                                      const std::string& directory) const {
    for (const storage::Entry& entry : CHRONOS_TRY(archive.repository->storage->list(
             archive.directory(settings_.stanza) + "/" + directory))) {
        const std::string name = entry.name.substr(0, pgdata::kWalSegmentNameSize);
        if (!repo::is_archived_segment(entry) || name <= segment_) continue;
        if (is_behind_the_way(recovery_, name, control_.wal_segment_size))
            return std::optional<Later>{};
        return Later{name + " is in repo" + std::to_string(archive.repository->key),
                     entry.modified};
    }
    return std::optional<Later>{};
}

Error MissingSegment::hole(const Later& later) const {
    return Error(kHole, "WAL segment " + segment_ +
                            " is missing in the archive, but later WAL exists: " + later.what +
                            ". Recovery stops: to end here would lose that WAL")
        .with_hint(
            "If another copy of the segment exists (pg_wal of the former primary, of a "
            "standby, another repository), push it with archive-push and start again.")
        .with_hint(
            "Otherwise restore again to a target before it: the restore's --plan names "
            "one.");
}

}  // namespace

bool is_behind_the_way(const pgdata::RecoveryState& recovery, const std::string& segment,
                       std::uint32_t segment_size) {
    const auto kept = bytes_of_the_way(recovery, segment, segment_size);
    return kept && *kept == 0;
}

std::optional<std::uint64_t> bytes_of_the_way(const pgdata::RecoveryState& recovery,
                                              const std::string& segment,
                                              std::uint32_t segment_size) {
    const auto leg = recovery.leg_of(pgdata::timeline_of_segment(segment));
    if (!leg || !leg->left) return std::nullopt;
    const Lsn start = pgdata::wal_segment_start(segment, segment_size);
    if (*leg->left <= start) return 0;
    const std::uint64_t kept = leg->left->value - start.value;
    return kept < segment_size ? std::optional(kept) : std::nullopt;
}

namespace {

/// Whether the segment in pg_wal has WAL behind a position in it.
bool is_received_behind(const std::string& pg_path, const std::string& segment, Lsn left,
                        std::uint32_t segment_size) {
    const Lsn page{left.value / pgdata::kWalPageSize * pgdata::kWalPageSize};
    const std::uint64_t offset = page.value % segment_size;
    const std::string pages = os::read_part_or_empty(
        pg_path + "/pg_wal/" + segment, offset,
        std::min<std::uint64_t>(2 * pgdata::kWalPageSize, segment_size - offset));
    return !pages.empty() && pgdata::is_written_behind(io::bytes(pages), page, left, segment_size);
}

}  // namespace

std::optional<std::uint64_t> bytes_to_give(const GetSettings& settings,
                                           const pgdata::RecoveryState& recovery,
                                           const std::string& segment, std::uint32_t segment_size) {
    const auto kept = bytes_of_the_way(recovery, segment, segment_size);
    // Whoever looks ahead does without: the server asks itself.
    if (!kept || !recovery.may_have_refused || settings.ahead) return kept;
    // A standby that follows the newest timeline does not get beyond the segment of the fork, and
    // asks for nothing behind it; one that was past the fork already has received what is there.
    const Lsn left = *recovery.leg_of(pgdata::timeline_of_segment(segment))->left;
    const bool of_the_fork =
        pgdata::wal_segment_start(segment, segment_size).value / segment_size ==
        left.value / segment_size;
    if (!of_the_fork || is_received_behind(settings.pg_path, segment, left, segment_size))
        return std::nullopt;
    return kept;
}

Result<GetOutcome> judge_missing_segment(const GetSettings& settings, const std::string& segment) {
    auto control = CHRONOS_TRY(pgdata::read_control_file(settings.pg_path));
    return MissingSegment(settings, segment, std::move(control)).run();
}

namespace {

/// What the segment is up to its first record.
pgdata::WalExtent head_of(const std::string& segment, const std::string& path) {
    pgdata::WalReader reader(pgdata::WalReader::Depth::pages, pgdata::timeline_of_segment(segment));
    for (std::uint64_t offset = 0; reader.extent().first.value == 0;
         offset += pgdata::kWalPageSize) {
        const std::string page = os::read_part_or_empty(path, offset, pgdata::kWalPageSize);
        if (page.empty()) break;
        [[maybe_unused]] const Result<> never = reader.write(io::bytes(page));
    }
    return reader.extent();
}

}  // namespace

Result<> judge_unfinished_segment(const GetSettings& settings, const std::string& segment,
                                  const pgdata::WalExtent& extent) {
    auto control = CHRONOS_TRY(pgdata::read_control_file(settings.pg_path));
    return MissingSegment(settings, segment, std::move(control)).judge_unfinished(extent);
}

Result<> check_joint(const std::string& pg_path, const std::string& segment,
                     const std::string& file) {
    if (!pgdata::is_wal_segment(segment)) return {};
    GetSettings settings;
    settings.pg_path = pg_path;
    MissingSegment judge(settings, segment, CHRONOS_TRY(pgdata::read_control_file(pg_path)));
    if (!judge.is_recovery()) return {};
    const Lsn before = judge.last_before();
    if (before.value == 0) return {};
    const pgdata::WalExtent head = head_of(segment, file);
    const std::string flaw = pgdata::joint_flaw(before, head);
    return flaw.empty() ? judge.judge_tablespace_across(before, head, file)
                        : judge.judge_joint(flaw);
}

namespace {

Result<bool> has_segments_of(const std::vector<Archive>& archives, const std::string& stanza,
                             Timeline timeline) {
    for (const Archive& archive : archives) {
        storage::Storage& storage = *archive.repository->storage;
        const std::string directory = archive.directory(stanza);
        for (const storage::Entry& entry : CHRONOS_TRY(storage.list(directory, hex_of(timeline))))
            if (repo::is_wal_directory(entry.name) &&
                !CHRONOS_TRY(storage.list(directory + "/" + entry.name)).empty())
                return true;
    }
    return false;
}

Result<GetOutcome> deliver_text(const std::string& text, const std::string& destination) {
    VerifiedFile file = CHRONOS_TRY(VerifiedFile::create(destination, std::nullopt));
    CHRONOS_TRY(file.write(io::bytes(text)));
    CHRONOS_TRY(file.finish());
    return GetOutcome::found;
}

}  // namespace

Result<GetOutcome> judge_missing_history(const GetSettings& settings, const std::string& name,
                                         const std::string& destination) {
    const auto control = CHRONOS_TRY(pgdata::read_control_file(settings.pg_path));
    // The first timeline has none.
    if (pgdata::timeline_of_segment(name) == 1) return GetOutcome::missing;
    if (was_looked_into(settings, name))
        return still_missing(settings, repo::ClusterIdentity::of(control), true);
    const auto archives = CHRONOS_TRY(archives_of(settings, repo::ClusterIdentity::of(control)));
    const repo::Timelines timelines = CHRONOS_TRY(timelines_of(settings, archives));
    const Timeline timeline = pgdata::timeline_of_segment(name);
    if (const auto* way = timelines.way_to(timeline)) {
        log_warn(name +
                 " is not in the archive; put together from the history of a later timeline");
        return deliver_text(repo::format_timeline_history(*way), destination);
    }
    // The one that the cluster is on already it can do without.
    if (timeline == control.timeline ||
        !CHRONOS_TRY(has_segments_of(archives, settings.stanza, timeline)))
        return still_missing(settings, repo::ClusterIdentity::of(control));
    const pgdata::RecoveryState recovery = pgdata::read_recovery_state(settings.pg_path);
    // The server asks for all before its target, and needs those on its way, which are known.
    if (recovery.target && timeline < *recovery.target)
        return still_missing(settings, repo::ClusterIdentity::of(control));
    const std::string lost = "WAL of timeline " + std::to_string(timeline) +
                             " is in the archive, but not its history " + name;
    if (recovery.kind == Kind::standby) {
        log_warn(lost + ": the standby does not follow it");
        return GetOutcome::missing;
    }
    // The server is looking for a free number; it does not read what is in the file.
    if (recovery.target && timeline > *recovery.target) {
        log_warn(lost + ": the server is told that the number is taken");
        return deliver_text("# taken: WAL of this timeline is in the archive\n", destination);
    }
    return Error(kHole, lost)
        .with_hint(
            "Push the file again from pg_wal of a server that was on that timeline, or "
            "restore with --target-timeline set to the number of another one.");
}

}  // namespace chronos::ops::archive
